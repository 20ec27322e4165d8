"""Cut a clip into segments of video and audio, and segments into blocks: arithmetic, without a network."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import ClipInput
from avbench.encoders.networks.synchformer.frames import FPS, SIDE, FpsFilter
from avbench.media import windows

RATE = 16_000
FRAMES, FRAME_STEP = 16, 8
SAMPLES, SAMPLE_STEP = 10_240, 5_120
BLOCK = 14

_BLACK = -1
_BLACK_FRAME = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
# A sound that starts this part of a frame late costs no frame.
_SLACK = 1e-3


@dataclass(frozen=True)
class Recipe:
    """How much of a clip is judged.

    Attributes:
        length_s: cut both tracks to this length from their first frame and sample, and fill what is missing with
            black frames and silence, as JavisBench (4 s) and OmniNFT (8 s) do. None takes the span that both tracks
            cover on the clip's timeline, and fills nothing.
        desync_drop_last: lose the last 25 fps frame, as the reference's reader does at the end of a file.
    """

    length_s: float | None = None
    desync_drop_last: bool = False


@dataclass(frozen=True)
class VideoSegment:
    """16 frames of a view (K, 224, 224, 3) that may lie on disk; an index of -1 is a black frame."""

    view: NDArray[np.uint8]
    indices: tuple[int, ...]

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 (16, 224, 224, 3)."""
        return np.stack([_frame(self.view, index) for index in self.indices])


@dataclass(frozen=True)
class Segments:
    """Segments of one clip, S of video and S of audio; `audio` is (S, 10240) at 16 kHz."""

    video: list[VideoSegment]
    audio: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.video)


def cut_segments(clip: ClipInput, recipe: Recipe) -> Segments:
    """Segments of 0.64 s every 0.32 s, as many as both tracks fill; none when the clip is shorter than one."""
    view, waveform = clip.views
    span = _common_span if recipe.length_s is None else _fixed_span
    indices, audio = span(clip, waveform[0], recipe)
    count = min(_count(len(indices), FRAMES, FRAME_STEP), _count(len(audio), SAMPLES, SAMPLE_STEP))
    if count == 0 or (indices == _BLACK).all():
        return Segments([], np.zeros((0, SAMPLES), dtype=np.float32))
    starts = [segment * FRAME_STEP for segment in range(count)]
    video = [VideoSegment(view, tuple(indices[start : start + FRAMES].tolist())) for start in starts]
    return Segments(video, np.lib.stride_tricks.sliding_window_view(audio, SAMPLES)[::SAMPLE_STEP][:count])


def blocks(count: int) -> list[NDArray[np.int64]]:
    """Segment indices (14,) of each block: from the start, the last block moved back so that it is full.

    A clip with fewer than 14 segments repeats them in turn.
    """
    if count == 0:
        return []
    return [start + np.arange(BLOCK) % min(count, BLOCK) for start, _ in windows(count, BLOCK, BLOCK)]


def video_keys(segments: Segments) -> list[Hashable]:
    """A key per video segment; equal keys hold equal pixels."""
    digests: dict[int, bytes] = {}
    for segment in segments.video:
        for index in set(segment.indices) - digests.keys():
            digests[index] = blake2b(_frame(segment.view, index).tobytes(), digest_size=16).digest()
    return [tuple(digests[index] for index in segment.indices) for segment in segments.video]


def audio_keys(segments: Segments) -> list[Hashable]:
    """A key per audio segment; equal keys hold equal samples."""
    return [blake2b(audio.tobytes(), digest_size=16).digest() for audio in segments.audio]


def distinct(keys: Sequence[Hashable]) -> tuple[list[int], NDArray[np.int64]]:
    """Index of the first of each distinct key, and for each key its index in that list (S,)."""
    positions: dict[Hashable, int] = {}
    firsts: list[int] = []
    for index, key in enumerate(keys):
        if key not in positions:
            positions[key] = len(firsts)
            firsts.append(index)
    return firsts, np.array([positions[key] for key in keys], dtype=np.int64)


def _common_span(clip: ClipInput, audio: NDArray[np.float32], recipe: Recipe) -> tuple[NDArray[Any], NDArray[Any]]:
    assert clip.video is not None
    assert clip.audio is not None
    late = clip.audio.start - float(clip.video.times[0])
    frames = max(0, int(np.ceil(late * FPS - _SLACK)))
    samples = max(0, round((frames / FPS - late) * RATE))
    return np.arange(frames, len(clip.views[0])), audio[samples:]


def _fixed_span(clip: ClipInput, audio: NDArray[np.float32], recipe: Recipe) -> tuple[NDArray[Any], NDArray[Any]]:
    assert clip.video is not None
    assert recipe.length_s is not None
    count, samples = int(FPS * recipe.length_s), int(RATE * recipe.length_s)
    lost = FpsFilter().lost(clip.video.times, clip.video.fps, clip.video.end) if recipe.desync_drop_last else 0
    indices = np.arange(count)
    indices[max(0, len(clip.views[0]) - lost) :] = _BLACK
    return indices, np.pad(audio[:samples], (0, max(0, samples - len(audio))))


def _count(length: int, size: int, step: int) -> int:
    return max(0, (length - size) // step + 1)


def _frame(view: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
    return _BLACK_FRAME if index == _BLACK else view[index]
