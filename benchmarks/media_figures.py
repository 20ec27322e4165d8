"""Decoding against a plain PyAV loop, and AV-Align against its textbook computation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import numpy as np
import soundfile
from figures import Figure
from material import timing_clips
from stopwatch import Rounds, take_turns

from avbench.clips import Clip
from avbench.encoders import EncoderStore
from avbench.media import Frame, FrameSeries, Waveform, decode_clip
from avbench.media.options import default_threads
from avbench.metrics.av_align import WAVEFORM
from avbench.metrics.optical_flow import FLOW
from avbench.run.jobs import ClipJob, RunContext, Stopped
from avbench.run.schedule import SpoolLimit, score_jobs

NOTHING = FrameSeries("nothing", lambda previous, current: (0.0,))
SLOW_CLIPS = ("friday", "ovi_dressing_room", "ovi_two_men", "tears_of_steel_hall")
"""Left out of the AV-Align timing, which takes seconds per clip; others of their kind are in it."""


def plain_decode(path: Path) -> tuple[int, np.ndarray]:
    """All frames as RGB and all sound as an array, the shortest way that PyAV offers."""
    frames, chunks = 0, []
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        video.thread_type = "AUTO"
        for packet in container.demux(video, audio):
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    frame.to_ndarray(format="rgb24", threads=1)
                    frames += 1
                else:
                    chunks.append(frame.to_ndarray())
    return frames, np.concatenate(chunks, axis=1)


def decode_figures(folder: Path, rounds: int) -> list[Figure]:
    """Speed of `decode_clip` relative to `plain_decode`, all frames and the sound."""
    per_clip: dict[str, Rounds] = {}
    for path in timing_clips(folder):
        clip = Clip(path.stem, path)
        media, (frames, sound) = decode_clip(clip, "key", [NOTHING, Waveform()]), plain_decode(path)
        assert media.video is not None
        assert media.audio is not None
        assert (len(media.video.times), media.audio.samples) == (frames, sound.shape[1]), path
        candidates = {
            "plain": lambda path=path: plain_decode(path),
            "avbench": lambda clip=clip: decode_clip(clip, "key", [NOTHING, Waveform()]),
        }
        per_clip[path.stem] = take_turns(candidates, rounds)
    return [_over_clips("decode: speed of a plain PyAV loop = 1", per_clip, "plain", "avbench", ">=", 0.9)]


def textbook_av_align(path: Path, wav: Path) -> float:
    """AV-Align as its publications compute it: decode everything, then flow, then onsets, one after another."""
    import librosa

    capture = cv2.VideoCapture(str(path))
    fps, frames = capture.get(cv2.CAP_PROP_FPS), []
    while True:
        more, frame = capture.read()
        if not more:
            break
        frames.append(frame)
    magnitude = []
    previous = cv2.cvtColor(frames[0], cv2.COLOR_BGR2GRAY)
    for frame in frames[1:]:
        current = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        flow = cv2.calcOpticalFlowFarneback(previous, current, None, 0.5, 3, 15, 3, 5, 1.2, 0)
        size, _ = cv2.cartToPolar(flow[..., 0], flow[..., 1])
        magnitude.append(float(np.mean(size)))
        previous = current
    magnitude.insert(0, magnitude[0])
    triples = enumerate(zip(magnitude, magnitude[1:], magnitude[2:], strict=False), 1)
    peaks = [i / fps for i, (before, here, after) in triples if here > before and here > after]
    sound, rate = librosa.load(wav, sr=None)
    onsets = librosa.onset.onset_detect(y=sound, sr=rate, units="time")
    hits = sum(any(abs(onset - peak) < 1.0 / fps for peak in peaks) for onset in onsets)
    return float(hits / (len(onsets) + len(peaks) - hits + 1e-6))


def our_av_align(clip: Clip) -> float | None:
    """Decode and score one clip as a run does."""
    job = ClipJob(clip, "0" * 64, ("av_align",), RunContext("run", "custom", "1"))
    (result,) = score_jobs([job], EncoderStore("cpu", 2), SpoolLimit(), Stopped())
    return result.rows[0].value


def flow_alone(frames: Sequence[np.ndarray]) -> None:
    """The per-pair function of avbench over frames in memory, on as many threads as `decode_clip` takes."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    pictures = [Frame(rgb, index, 0.0) for index, rgb in enumerate(frames)]
    with ThreadPoolExecutor(default_threads()) as pool:
        list(pool.map(FLOW.step, pictures, pictures[1:]))
    cv2.setNumThreads(before)


def av_align_figures(folder: Path, rounds: int) -> list[Figure]:
    """AV-Align against the textbook and against the time of its optical flow alone; librosa's first call."""
    per_clip: dict[str, Rounds] = {}
    for path in timing_clips(folder):
        if path.stem in SLOW_CLIPS:
            continue
        wav, clip = folder / f"{path.stem}.wav", Clip(path.stem, path)
        media = decode_clip(clip, "key", [WAVEFORM])
        assert media.audio is not None
        soundfile.write(wav, media.view(WAVEFORM)[0], media.audio.sample_rate, subtype="FLOAT")
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        textbook, value = textbook_av_align(path, wav), our_av_align(clip)  # also warms librosa up
        assert value is not None
        assert abs(textbook - value) < 1e-9, f"{path.name}: textbook {textbook}, value {value}"
        candidates = {
            "textbook": lambda path=path, wav=wav: textbook_av_align(path, wav),
            "avbench": lambda clip=clip: our_av_align(clip),
            "flow alone": lambda frames=frames: flow_alone(frames),
        }
        per_clip[path.stem] = take_turns(candidates, rounds)
    return [
        _over_clips("av_align: speed of the textbook = 1", per_clip, "textbook", "avbench", ">=", 1.6),
        _over_clips("av_align: time / its optical flow alone", per_clip, "avbench", "flow alone", "<=", 1.05),
        _librosa_cold(folder / f"{next(iter(per_clip))}.wav"),
    ]


def _over_clips(name: str, per_clip: dict[str, Rounds], above: str, below: str, sense: str, bound: float) -> Figure:
    """The ratio for the set of clips, each clip weighted by its time; ratios per clip in the detail."""
    ratios = {clip: rounds.ratio(above, below) for clip, rounds in per_clip.items()}
    weights = {clip: rounds.median(below) for clip, rounds in per_clip.items()}
    value = sum(ratios[clip] * weights[clip] for clip in ratios) / sum(weights.values())
    details = {clip: {"ratio": round(ratios[clip], 3)} | rounds.as_dict() for clip, rounds in per_clip.items()}
    disturbed = any(rounds.disturbed for rounds in per_clip.values())
    return Figure(name, value, sense=sense, bound=bound, disturbed=disturbed, detail={"clips": details})


_COLD = """
import json, sys, time
start = time.perf_counter()
import librosa
def detect():
    sound, rate = librosa.load(sys.argv[1], sr=None)
    librosa.onset.onset_detect(y=sound, sr=rate, units="time")
detect()
cold = time.perf_counter() - start
start = time.perf_counter()
detect()
print(json.dumps([cold, time.perf_counter() - start]))
"""


def _librosa_cold(wav: Path) -> Figure:
    """What a textbook process pays once: import and first call of librosa, not part of the ratios above."""
    output = subprocess.run([sys.executable, "-c", _COLD, str(wav)], capture_output=True, text=True, check=True)
    cold, warm = json.loads(output.stdout.splitlines()[-1])
    return Figure("librosa: import and first onset_detect", cold, "s", "<=", detail={"second_call_s": round(warm, 4)})
