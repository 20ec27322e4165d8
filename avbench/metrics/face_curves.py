"""What a report draws of faces: boxes and curves over time, bounded, as details of a score hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 100
MOST_FACES = 12
"""Faces of a clip whose boxes are kept: a long clip has a track for each shot."""


def boxes_over_time(boxes: NDArray[np.floating], seconds: float, least_seconds: float) -> dict[str, Any]:
    """Some of the boxes of a face, at equal distances in time.

    Args:
        boxes: left, top, right, bottom in pixels (F, 4), one each `seconds`.
        least_seconds: smallest distance of those kept.

    Returns:
        `boxes`, at most 100, and `boxes_every_s`, their distance in seconds.
    """
    step = max(1, round(least_seconds / seconds), -(-len(boxes) // MOST_POINTS))
    kept = [[round(float(edge), 1) for edge in box] for box in boxes[::step]]
    return {"boxes": kept, "boxes_every_s": round(step * seconds, 4)}


def thinned(values: NDArray[np.floating], seconds: float) -> tuple[list[float], float]:
    """Means of neighbouring values (n,), at most 100 of them, and their distance in seconds.

    Args:
        seconds: distance of the values.
    """
    step = max(1, -(-len(values) // MOST_POINTS))
    means = [round(float(values[start : start + step].mean()), 3) for start in range(0, len(values), step)]
    return means, step * seconds


def longest(lengths: Sequence[int]) -> set[int]:
    """Positions of the twelve longest, the earlier one of equals first."""
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    return set(order[:MOST_FACES])
