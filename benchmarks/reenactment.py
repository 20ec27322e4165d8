"""The reference's way through the ten metrics: each one opens, decodes and embeds for itself.

It follows JavisDiT eval/javisbench in what is read, decoded and embedded how often, and in which batches: five
overlapping reads for ImageBind's video clips, all three crops, every frame as a pair, the whole sound embedded for
ImageBind scores and again for AVHScore, three equal sub-clips of each sound window, one batch per clip, and all
tokens through ImageBind's last block. The bugs that move numbers are left out, so that the values equal those of
avbench in mode "fixed". Networks and their weights are those of the store; the reference's second build of ImageBind
is not timed. Worker processes that decode ahead are left out as well: where networks run on the CPU they gain nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import av
import cv2
import numpy as np
import soundfile
import torch
from observed import ObservedStore
from torch import Tensor

from avbench.clips import Clip
from avbench.encoders import ClipInput
from avbench.encoders.images import SIDE, short_side_224
from avbench.encoders.networks.audiobox.encoders import AUDIOBOX_AXES
from avbench.encoders.networks.clap import CLAP_AUDIO, CLAP_TEXT
from avbench.encoders.networks.clip import CLIP_FRAMES, CLIP_TEXT
from avbench.encoders.networks.imagebind import geometry
from avbench.encoders.networks.imagebind.encoders import EVERY_FRAME, IMAGEBIND
from avbench.encoders.networks.imagebind.encoders import WAVEFORM as IMAGEBIND_WAVEFORM
from avbench.encoders.networks.imagebind.inputs import mel_spectrograms, normalise_images
from avbench.encoders.networks.imagebind.network import Trunk
from avbench.encoders.networks.imagebind.tokens import tokenize
from avbench.encoders.networks.synchformer.encoders import AUDIO as SYNCHFORMER_AUDIO
from avbench.encoders.networks.synchformer.encoders import BACKBONE as SYNCHFORMER
from avbench.encoders.networks.synchformer.encoders import VIDEO as SYNCHFORMER_VIDEO
from avbench.encoders.networks.synchformer.inputs import log_mel, normalise
from avbench.encoders.networks.synchformer.segments import Recipe, blocks, cut_segments
from avbench.encoders.networks.videoalign import VIDEOALIGN
from avbench.encoders.texts import split_text
from avbench.media import AudioInfo, Frames, VideoInfo, Waveform
from avbench.media.media import render_waveform
from avbench.metrics.audio_quality import mean_quality
from avbench.metrics.clip_score import mean_cosine
from avbench.metrics.desync import mean_offset
from avbench.metrics.imagebind_score import cosine
from avbench.metrics.javis_score import lowest_mean, pair_windows

Values = dict[str, float]
Pictures = list[np.ndarray]


@dataclass
class Reader:
    """Reads one clip for one group of metrics, and counts how often a file is opened."""

    clip: Clip
    opens: Counter[str] = field(default_factory=Counter)
    capture: cv2.VideoCapture | None = None

    def info(self) -> VideoInfo:
        """Frame count, rate and size."""
        capture = self._capture()
        count, fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
        width, height = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        return VideoInfo(np.arange(count) / fps, fps, width, height)

    def every_frame(self) -> Pictures:
        """All frames (H, W, 3), in order."""
        capture, frames = self._capture(), []
        while True:
            more, frame = capture.read()
            if not more:
                return frames
            frames.append(np.ascontiguousarray(frame[..., ::-1]))

    def sought(self, indices: Sequence[int]) -> Pictures:
        """Chosen frames, each by a seek."""
        capture, frames = self._capture(), []
        for index in indices:
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            frames.append(np.ascontiguousarray(capture.read()[1][..., ::-1]))
        return frames

    def stretches(self, spans: Sequence[tuple[int, int]]) -> list[Pictures]:
        """All frames of each span (first, last), which may overlap, from one open file."""
        capture, read = self._capture(), []
        for first, last in spans:
            capture.set(cv2.CAP_PROP_POS_FRAMES, first)
            read.append([np.ascontiguousarray(capture.read()[1][..., ::-1]) for _ in range(first, last + 1)])
        return read

    def resampled_by_time(self, view: Frames) -> tuple[np.ndarray, VideoInfo]:
        """The frames of a view from one pass of FFmpeg, transformed one by one."""
        self.opens["video"] += 1
        with av.open(str(self.clip.video)) as container:
            container.streams.video[0].thread_type = "AUTO"
            frames = list(container.decode(video=0))
            fps = float(container.streams.video[0].average_rate)
        info = VideoInfo(np.array([frame.time for frame in frames]), fps, frames[0].width, frames[0].height)
        chosen = view.sampling.indices(info.times, fps)
        return np.stack([view.transform(frames[index].to_ndarray(format="rgb24")) for index in chosen]), info

    def sound(self, view: Waveform) -> tuple[np.ndarray, AudioInfo]:
        """The sound file as a view has it, (C, N)."""
        self.opens["audio"] += 1
        samples, rate = soundfile.read(self.clip.audio, dtype="float32", always_2d=True)
        return render_waveform(samples.T, rate, view), AudioInfo(rate, samples.shape[1], len(samples))

    def _capture(self) -> cv2.VideoCapture:
        if self.capture is None:
            self.opens["video"] += 1
            self.capture = cv2.VideoCapture(str(self.clip.video))
        return self.capture


@contextmanager
def every_token() -> Iterator[None]:
    """ImageBind's last block computes all tokens, as the original does, instead of the class token alone."""
    shortcut = Trunk.first
    Trunk.first = lambda trunk, tokens: trunk(tokens)[:, 0]  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trunk.first = shortcut  # type: ignore[method-assign]


def video_quality(store: ObservedStore, reader: Reader) -> Values:
    """VQ: frames by seeks."""
    (view,), info = VIDEOALIGN.views, reader.info()
    frames = reader.sought(view.sampling.indices(info.times, info.fps))
    shown = ClipInput((np.stack([view.transform(frame) for frame in frames]),), reader.clip.prompt.text)
    return {"vq": float(VIDEOALIGN.run(store.network(VIDEOALIGN.backbone), [shown])[0][0])}


def audio_quality(store: ObservedStore, reader: Reader) -> Values:
    """AQ."""
    sound, _ = reader.sound(AUDIOBOX_AXES.views[0])
    ratings = AUDIOBOX_AXES.run(store.network(AUDIOBOX_AXES.backbone), [ClipInput((sound,))])[0]
    return {"aq": mean_quality(ratings)}


def clip_score(store: ObservedStore, reader: Reader) -> Values:
    """CLIP: 48 frames by 48 seeks."""
    (view,), info, network = CLIP_FRAMES.views, reader.info(), store.network(CLIP_FRAMES.backbone)
    frames = reader.sought(view.sampling.indices(info.times, info.fps))
    shown = ClipInput((np.stack([view.transform(frame) for frame in frames]),))
    text, _ = split_text(CLIP_TEXT.run(network, [ClipInput((), reader.clip.prompt.text)])[0])
    return {"clip_score": mean_cosine(CLIP_FRAMES.run(network, [shown])[0], text)}


def clap_score(store: ObservedStore, reader: Reader) -> Values:
    """CLAP."""
    network = store.network(CLAP_AUDIO.backbone)
    sound, _ = reader.sound(CLAP_AUDIO.views[0])
    text, _ = split_text(CLAP_TEXT.run(network, [ClipInput((), reader.clip.prompt.for_audio)])[0])
    return {"clap_score": float(cosine(CLAP_AUDIO.run(network, [ClipInput((sound,))])[0], text))}


def imagebind_score(store: ObservedStore, reader: Reader) -> Values:
    """IB-TV, IB-TA, IB-AV: five overlapping reads, of which two frames each are used; 15 + 3 + 2 passes."""
    network, prompt, info = store.network(IMAGEBIND), reader.clip.prompt, reader.info()
    corners = geometry.crop_corners(*short_side_224(np.zeros((info.height, info.width, 3), np.uint8)).shape[:2], SIDE)
    pairs = []
    for frames in reader.stretches(geometry.clip_ends(len(info.times), info.fps)):
        ends = np.stack([short_side_224(frames[0]), short_side_224(frames[-1])])  # (2, h, w, 3)
        # All three crops, also of a square, where they coincide.
        for top, left in corners * (3 // len(corners)):
            pairs.append(ends[:, top : top + SIDE, left : left + SIDE])
    video = _see(network, pairs).mean(axis=0)
    audio = _hear_clips(network, reader).mean(axis=0)
    texts = [str(prompt.text), str(prompt.for_audio)]
    words = network.embed_tokens(tokenize(texts, ib_text_truncation=False).to(network.device_and_dtype[0]))
    text, audio_text = words.float().cpu().numpy()
    pairs_of = {"tv_ib": (text, video), "ta_ib": (audio_text, audio), "av_ib": (audio, video)}
    return {name: float(cosine(*pair)) for name, pair in pairs_of.items()}


def av_score(store: ObservedStore, reader: Reader) -> Values:
    """AVHScore and JavisScore: every frame in one batch; the whole sound again, and each window three times over."""
    network, info = store.network(IMAGEBIND), reader.info()
    stills = [EVERY_FRAME.transform(frame) for frame in reader.every_frame()]
    frames = _see(network, [np.stack([still, still]) for still in stills])  # (T, D)
    whole = _hear_clips(network, reader).mean(axis=0)
    sound, _ = reader.sound(IMAGEBIND_WAVEFORM)
    windows = [sound[:, start:stop] for start, stop in geometry.audio_windows(sound.shape[1])]
    heard = _hear(network, [part[:, a:b] for part in windows for a, b in geometry.audio_clips(part.shape[1])])
    sounds = heard.reshape(len(windows), geometry.AUDIO_CLIPS, heard.shape[-1]).mean(axis=1) if windows else heard
    spans = pair_windows(len(frames), info.fps, len(windows))
    lowest = lowest_mean(frames, sounds[: len(spans)] if windows else whole[None], spans)
    assert lowest is not None
    return {"avh_score": float(cosine(frames, whole).mean()), "javis_score": float(lowest.mean())}


def desync(store: ObservedStore, reader: Reader) -> Values:
    """DeSync: all segments of a clip in one batch."""
    network = store.network(SYNCHFORMER)
    pictures, video = reader.resampled_by_time(SYNCHFORMER_VIDEO)
    sound, audio = reader.sound(SYNCHFORMER_AUDIO)
    parts = cut_segments(ClipInput((pictures, sound), None, video, audio), Recipe())
    weight = network.weight
    shown = torch.from_numpy(np.stack([part.pixels() for part in parts.video])).to(weight.device)
    played = torch.from_numpy(np.array(parts.audio)).to(weight.device)
    seen = network.vfeat_extractor(normalise(shown).to(weight.dtype))
    heard = network.afeat_extractor(log_mel(played).to(weight.dtype))
    logits = [network.compare(seen[None, chosen], heard[None, chosen]) for chosen in blocks(len(parts))]
    return {"desync": mean_offset(torch.cat(logits).reshape(len(logits), -1).float().cpu().numpy())}


def _see(network: Any, pairs: Pictures) -> np.ndarray:
    device, dtype = network.device_and_dtype
    pixels = normalise_images(pairs, device).permute(0, 4, 1, 2, 3)  # (B, 3, 2, 224, 224)
    return _array(network.embed_images(pixels.to(dtype)))


def _hear_clips(network: Any, reader: Reader) -> np.ndarray:
    sound, _ = reader.sound(IMAGEBIND_WAVEFORM)
    return _hear(network, [sound[:, start:stop] for start, stop in geometry.audio_clips(sound.shape[1])])


def _hear(network: Any, parts: Pictures) -> np.ndarray:
    device, dtype = network.device_and_dtype
    mels = mel_spectrograms([(part - part.mean())[0] for part in parts], device)
    return _array(network.embed_mels(mels.to(dtype))) if parts else np.zeros((0, 0), np.float32)


def _array(embeddings: Tensor) -> np.ndarray:
    return embeddings.float().cpu().numpy()


@dataclass(frozen=True)
class Group:
    """Metrics that the reference computes in one go."""

    metrics: tuple[str, ...]
    compute: Callable[[ObservedStore, Reader], Values]

    @property
    def name(self) -> str:
        """The metrics joined."""
        return "+".join(self.metrics)


GROUPS = (
    Group(("vq",), video_quality),
    Group(("aq",), audio_quality),
    Group(("tv_ib", "ta_ib", "av_ib"), imagebind_score),
    Group(("clip_score",), clip_score),
    Group(("clap_score",), clap_score),
    Group(("avh_score", "javis_score"), av_score),
    Group(("desync",), desync),
)
