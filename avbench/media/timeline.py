"""Place decoded samples by their own timestamps: silence where packets are missing, no moment twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avbench.errors import MediaError

Samples = NDArray[np.float32]
Seconds = NDArray[np.float64]
Counts = NDArray[np.int64]

JITTER_S = 0.05
"""Timestamps that stray less than this from a steady clock move no sample."""

# FFmpeg's fragmented MP4 counts the padding of the codec into the time behind the first frame.
_FIRST_STEP_S = 0.1
# Players drop this much without a word; joined segments repeat some packets.
_LONGEST_OVERLAP_S = 0.5
# One damaged timestamp must not fill the memory with silence.
_LONGEST_SILENCE_S = 600.0
_LARGEST_SILENCE = 2**26  # values over all channels, 256 MiB


@dataclass(frozen=True)
class Timeline:
    """Samples (C, N), the time of the first in seconds, and the jumps as `AudioInfo.gaps` has them."""

    samples: Samples
    start: float
    gaps: tuple[tuple[float, float], ...]


def align(chunks: Sequence[Samples], times: Sequence[float | None], rate: int) -> Timeline:
    """Join decoded frames on one timeline.

    They follow each other without regard to their timestamps as long as these stay within `JITTER_S` of a steady
    clock (up to twice that where they jitter from frame to frame). Where the timestamps leave it for good, silence
    fills the gap; where they go back, the samples of the later frame that overlap are left out. A gap below 0.1 s
    right behind the first frame is filled and not reported.

    Args:
        chunks: frames (C, N_i) of one channel count, at least one.
        times: seconds of the first sample of each; None follows the one before.
        rate: samples per second.

    Raises:
        MediaError: the timestamps go back by more than 0.5 s, or the silence would exceed 10 minutes or 256 MiB.
    """
    counts = np.array([chunk.shape[1] for chunk in chunks])
    before = np.cumsum(counts) - counts  # (F,) samples decoded before each frame
    drift = _drift(times, before / rate)
    steps = _steps(drift)
    if not steps:
        return Timeline(np.concatenate(chunks, axis=1), float(drift[0]), ())
    positions = before + _shifts(drift, steps, rate)
    gaps = _gaps(positions, counts, steps, rate)
    _check_gaps(gaps, min(_LONGEST_SILENCE_S, _LARGEST_SILENCE / len(chunks[0]) / rate))
    samples = np.zeros((len(chunks[0]), int((positions + counts).max())), np.float32)  # (C, N)
    written = 0
    for chunk, position, count in zip(chunks, positions.tolist(), counts.tolist(), strict=True):
        skip = max(written - position, 0)
        if skip < count:
            samples[:, position + skip : position + count] = chunk[:, skip:]
            written = position + count
    behind_first = steps[0] == 1 and abs(gaps[0][1]) < _FIRST_STEP_S
    return Timeline(samples, float(drift[0]), gaps[1:] if behind_first else gaps)


def _drift(times: Sequence[float | None], expected: Seconds) -> Seconds:
    """How much later (F,) each frame is than the count of samples before it says."""
    drift = np.array([np.nan if time is None else time for time in times]) - expected
    known = np.flatnonzero(~np.isnan(drift))
    if not len(known):
        return np.zeros(len(drift))
    # A frame without a timestamp follows the one before; those at the beginning precede the first that has one.
    latest = known[np.maximum(np.searchsorted(known, np.arange(len(drift)), side="right") - 1, 0)]
    return np.asarray(drift[latest])


def _steps(drift: Seconds) -> list[int]:
    """Indices of the frames that begin a new level of the drift."""
    if np.ptp(drift) <= JITTER_S:
        return []
    # Where timestamps change from frame to frame, a single one says less.
    tolerance = JITTER_S + min(2 * float(np.median(np.abs(np.diff(drift)))), JITTER_S)
    steps: list[int] = []
    level = drift[0]
    for index, value in enumerate(drift):
        if abs(value - level) <= tolerance:
            continue
        level = value
        # Back at the level before the last step: that one frame has a damaged timestamp.
        if steps and steps[-1] == index - 1 and abs(value - drift[index - 2]) <= tolerance:
            steps.pop()
        else:
            steps.append(index)
    return steps


def _shifts(drift: Seconds, steps: Sequence[int], rate: int) -> Counts:
    """Samples (F,) by which each frame is moved: the median drift of its section against that of the first."""
    sections = np.split(drift, steps)
    levels = np.array([np.median(section) for section in sections])
    # Damaged timestamps may lie beyond any integer; they have a reason afterwards.
    moved = np.round(np.clip((levels - levels[0]) * rate, -(2.0**53), 2.0**53)).astype(np.int64)
    return np.repeat(moved, [len(section) for section in sections])


def _gaps(positions: Counts, counts: Counts, steps: Sequence[int], rate: int) -> tuple[tuple[float, float], ...]:
    ends = np.maximum.accumulate(positions + counts)
    return tuple((float(ends[step - 1] / rate), float((positions[step] - ends[step - 1]) / rate)) for step in steps)


def _check_gaps(gaps: Sequence[tuple[float, float]], most_silence: float) -> None:
    silence = 0.0
    for at, jump in gaps:
        silence += max(jump, 0.0)
        if jump < -_LONGEST_OVERLAP_S:
            raise MediaError(f"its timestamps go back by {-jump:.2f} s at {at:.2f} s; make the file again")
        if silence > most_silence:
            raise MediaError(
                f"its timestamps jump ahead by {jump:.2f} s at {at:.2f} s, and more than {most_silence:.0f} s of "
                "silence would be put in; make the file again"
            )
