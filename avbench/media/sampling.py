"""Which frames and which windows: pure arithmetic on timestamps and counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Indices = NDArray[np.int64]


class Sampling(Protocol):
    """Which frames of a clip to take. Frozen and hashable, so that equal requests are computed once."""

    def indices(self, times: Times, fps: float, end: float | None = None) -> Indices:
        """Indices into `times` (T,), ascending, with repetitions where a frame is taken twice.

        Args:
            times: presentation times in seconds.
            fps: nominal frame rate of the track.
            end: seconds at which the last frame ends where it is held; None: one median gap after its start.
        """


def last_gap(times: Times, fps: float) -> float:
    """Seconds that a last frame lasts which is not held: the median gap, or one nominal frame where there is none."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0 / fps


@dataclass(frozen=True)
class All:
    """Every frame, once."""

    def indices(self, times: Times, fps: float, end: float | None = None) -> Indices:
        """Indices into `times` (T,), ascending."""
        return np.arange(len(times))


@dataclass(frozen=True)
class Linspace:
    """`count` frames spread evenly over the clip, first and last included; short clips repeat frames.

    Rounds half to even in float32, as the JavisBench reader does.
    """

    count: int

    def indices(self, times: Times, fps: float, end: float | None = None) -> Indices:
        """Indices into `times` (T,), ascending, `count` of them."""
        positions = np.linspace(0, max(len(times) - 1, 0), self.count, dtype=np.float32)
        return np.round(positions).astype(np.int64)


@dataclass(frozen=True)
class Middle:
    """The middle frame of each of `count` equal parts of the clip; a clip of fewer frames repeats its last one.

    Source: VBench, `get_frame_indices` with sample "middle".
    """

    count: int

    def indices(self, times: Times, fps: float, end: float | None = None) -> Indices:
        """Indices into `times` (T,), ascending, `count` of them; none of no frames."""
        parts = min(self.count, len(times))
        if parts == 0:
            return np.zeros(0, dtype=np.int64)
        borders = np.linspace(0, len(times), parts + 1).astype(np.int64)
        middles = (borders[:-1] + borders[1:] - 1) // 2
        return np.pad(middles, (0, self.count - parts), mode="edge")


@dataclass(frozen=True)
class AtRate:
    """The frame nearest to each tick of a constant rate, by timestamp (right for variable frame rate)."""

    fps: float

    def indices(self, times: Times, fps: float, end: float | None = None) -> Indices:
        """Indices into `times` (T,), ascending; frames repeat where the rate exceeds the clip's."""
        if len(times) == 0:
            return np.zeros(0, dtype=np.int64)
        end = times[-1] + last_gap(times, fps) if end is None else end
        ticks = np.arange(times[0], end - 1e-9, 1.0 / self.fps)
        right = np.clip(np.searchsorted(times, ticks), 0, len(times) - 1)
        left = np.maximum(right - 1, 0)
        return np.where(ticks - times[left] <= times[right] - ticks, left, right)


def windows(n: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Half-open windows over `n` items; the last one is moved back so that it ends at `n`.

    Args:
        n: number of items (frames or samples).
        size: items per window.
        stride: items between window starts.

    Returns:
        One window over everything when `n <= size`, otherwise windows that cover all items.

    Raises:
        ValueError: when `size` or `stride` is not positive.
    """
    if size <= 0 or stride <= 0:
        raise ValueError(f"windows need a positive size and stride, got {size} and {stride}")
    if n <= size:
        return [(0, n)]
    starts = [*range(0, n - size, stride), n - size]
    return [(start, start + size) for start in starts]
