"""CAVP, stage 1 of Diff-Foley: four vectors per second of video and of audio in one space."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext, Run
from avbench.encoders.batching import batched
from avbench.encoders.networks.cavp.inputs import RATE, log_mel, shrink
from avbench.media import AudioInfo, Frames, VideoInfo, Waveform
from avbench.media.sampling import Indices, Times
from avbench.weights.locate import files

if TYPE_CHECKING:
    from avbench.encoders.networks.cavp.network import Cavp

STEPS_PER_SECOND = 4
# Frames that the network sees at a time; its convolutions over time do not look across the border.
SEGMENT = 40
# Segments, or sound tracks, in one forward: 160 frames of 224 x 224 need about 2 GB in fp32.
_BATCH = 4
# Durations are known to the reference in hundredths of a second, rounded.
_SLACK_S = 0.005


@dataclass(frozen=True)
class FourPerSecond:
    """Frames as FFmpeg's filter `fps=4` chooses them, which is how the network's training clips were made.

    Times are rounded to quarters of a second, and a quarter shows the last frame that is not after it: a frame up
    to an eighth of a second later than the nearest one.
    """

    def indices(self, times: Times, fps: float, end: float | None = None) -> Indices:
        """Indices into `times` (T,), ascending; one per whole quarter second, and one for a shorter clip."""
        if len(times) == 0:
            return np.zeros(0, dtype=np.int64)
        duration = VideoInfo(times, fps, width=0, height=0, end=end).duration
        # The small term undoes the rounding of times such as 3/24 s in binary.
        quarters = np.floor((times - times[0]) * STEPS_PER_SECOND + 0.5 + 1e-6)
        ticks = np.arange(max(1, steps_in(duration)))
        return np.asarray(np.searchsorted(quarters, ticks, side="right") - 1, dtype=np.int64)


def steps_in(seconds: float) -> int:
    """Whole quarters of a second in a duration."""
    return max(0, math.floor((seconds + _SLACK_S) * STEPS_PER_SECOND))


def common_steps(video: VideoInfo, audio: AudioInfo) -> int:
    """Quarters of a second, from the first frame on, that video and audio both cover."""
    return steps_in(min(video.duration, audio_offset(video, audio) + audio.duration))


def whole_second_steps(video: VideoInfo, audio: AudioInfo) -> int:
    """Quarters of a second in the whole seconds of the video, whatever the sound covers (the reference's rule)."""
    return steps_in(video.duration) // STEPS_PER_SECOND * STEPS_PER_SECOND


def audio_offset(video: VideoInfo, audio: AudioInfo) -> float:
    """Seconds from the first frame to the first sound sample."""
    return audio.start - float(video.times[0])


def _runner(count: Callable[[VideoInfo, AudioInfo], int]) -> Run:
    """A run over the first `count` quarters of a second of each clip; sound that ends earlier is padded."""

    def run(network: Cavp, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
        videos, sounds = [], []
        for clip in clips:
            assert clip.video is not None
            assert clip.audio is not None
            steps = count(clip.video, clip.audio)
            videos.append(clip.views[0][:steps])
            late = round(audio_offset(clip.video, clip.audio) * RATE)
            sound = np.pad(clip.views[1][0], (max(late, 0), 0))[max(-late, 0) :]
            sounds.append(log_mel(sound, steps))
        return _embed(network, videos, sounds)

    return run


def _embed(
    network: Cavp, videos: Sequence[NDArray[np.uint8]], sounds: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    """Per clip (2, T, D): unit vectors of video and audio, T = 0 where there is nothing to embed."""
    segments = [[part[start : start + SEGMENT] for start in range(0, len(part), SEGMENT)] for part in videos]
    seen = batched(lambda items: network.embed_video(items, SEGMENT), segments, _BATCH, "CAVP")
    longest = max((len(frames) for frames in videos), default=0)
    tracks = [[sound] if len(sound) else [] for sound in sounds]
    heard = batched(lambda items: network.embed_audio(items, longest), tracks, _BATCH, "CAVP")
    pairs = []
    for frames, video_vectors, sound in zip(videos, seen, heard, strict=True):
        steps = len(frames)
        if not steps:
            pairs.append(np.zeros((2, 0, network.dim), dtype=np.float32))
            continue
        pairs.append(np.stack([video_vectors.reshape(-1, network.dim)[:steps], sound[0, :steps]]))  # (2, T, D)
    return pairs


def _load(context: LoadContext) -> Any:
    from avbench.encoders.networks.cavp.network import load

    paths = {} if context.setup.is_test else files("cavp", context.setup)
    return load(context, next(iter(paths.values()), None))


_BACKBONE = Backbone(name="cavp", load=_load, row="cavp", packages=("torch", "PIL"))
_VIEWS = (Frames(FourPerSecond(), shrink), Waveform(rate=RATE))

CAVP = Encoder(name="cavp", version=1, backbone=_BACKBONE, run=_runner(common_steps), views=_VIEWS)
CAVP_WHOLE_SECONDS = Encoder(
    name="cavp_whole_seconds", version=1, backbone=_BACKBONE, run=_runner(whole_second_steps), views=_VIEWS
)
