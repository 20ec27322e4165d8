"""Choose the frames, crops and sound windows that ImageBind sees of a clip: pure arithmetic.

Source: ConstantClipsPerVideoSampler of pytorchvideo at commit 28fe037 (release 0.1.5 divides by the number of
clips instead of one less and gives other numbers), and ImageBind's data.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from avbench.media.sampling import Indices, Times, windows

RATE = 16000
CLIP_S = 2
VIDEO_CLIPS = 5
AUDIO_CLIPS = 3

# JavisScore's windows: 2 s that overlap by 1.5 s.
WINDOW_S = 2.0
OVERLAP_S = 1.5

Span = tuple[int, int]


def clip_starts(duration: float, count: int) -> list[Fraction]:
    """Start times in seconds of `count` clips of 2 s spread over `duration` seconds; all 0 when it is shorter.

    Exact fractions of the float duration: a rounded product would move a start over a frame border.
    """
    latest = Fraction(max(duration - CLIP_S, 0))
    return [latest / (count - 1) * index for index in range(count)]


def clip_ends(frames: int, fps: float) -> list[Span]:
    """First and last frame index of each of the five video clips.

    Args:
        frames: number of frames, at least 1.
        fps: nominal frame rate.
    """
    pairs = []
    for start in clip_starts(frames / fps, VIDEO_CLIPS):
        first = min(math.ceil(fps * start), frames - 1)
        last = min(math.ceil(fps * (start + CLIP_S)), frames) - 1
        pairs.append((first, max(first, last)))
    return pairs


@dataclass(frozen=True)
class ClipEnds:
    """The frames that `clip_ends` names, each once."""

    def indices(self, times: Times, fps: float, end: float | None = None) -> Indices:
        """Indices into `times` (T,), ascending."""
        return np.unique(np.array(clip_ends(len(times), fps), dtype=np.int64))


def crop_corners(height: int, width: int, side: int) -> list[Span]:
    """(top, left) of the squares at both ends and in the middle of the long side; one when the image is square."""
    top, left = math.ceil((height - side) / 2), math.ceil((width - side) / 2)
    if height > width:
        corners = [(0, left), (top, left), (height - side, left)]
    else:
        corners = [(top, 0), (top, left), (top, width - side)]
    return list(dict.fromkeys(corners))


def audio_clips(samples: int) -> list[Span]:
    """Sample ranges at 16 kHz of the three sound clips; three times everything when it is shorter than 2 s."""
    return [
        (int(start * RATE), min(int((start + CLIP_S) * RATE), samples))
        for start in clip_starts(samples / RATE, AUDIO_CLIPS)
    ]


def audio_windows(samples: int) -> list[Span]:
    """Sample ranges at 16 kHz of JavisScore's windows; none when the sound is no longer than one."""
    size = int(WINDOW_S * RATE)
    return windows(samples, size, size - int(OVERLAP_S * RATE)) if samples > size else []


def frame_windows(frames: int, fps: float) -> list[Span]:
    """Frame ranges of JavisScore's windows, at least one.

    Size and overlap are truncated to frames separately, so the windows drift against those of the sound when
    1.5 fps is no whole number. The reference does so, and it is kept in both modes.
    """
    size, overlap = int(WINDOW_S * fps), int(OVERLAP_S * fps)
    return windows(frames, max(size, 1), max(size - overlap, 1))
