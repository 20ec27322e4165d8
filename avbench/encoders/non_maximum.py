"""Non-maximum suppression: of boxes that overlap, keep the one with the highest score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]


def kept(boxes: Boxes, scores: Boxes, limit: float, *, pixel: float = 0.0, of_smaller: bool = False) -> list[int]:
    """Indices of the boxes that stay, by falling score.

    Args:
        boxes: left, top, right, bottom (N, 4).
        scores: (N,).
        limit: largest overlap with a box that stays.
        pixel: added to each side, 1 where edges are indices of pixels.
        of_smaller: overlap is a fraction of the smaller box; otherwise of the union.
    """
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2] + pixel, 0)
    areas = sides[:, 0] * sides[:, 1]
    order = np.argsort(-scores, kind="stable")
    chosen: list[int] = []
    while len(order):
        best, order = int(order[0]), order[1:]
        chosen.append(best)
        common = np.minimum(boxes[order, 2:], boxes[best, 2:]) - np.maximum(boxes[order, :2], boxes[best, :2]) + pixel
        shared = np.maximum(common, 0).prod(axis=1)
        whole = np.minimum(areas[order], areas[best]) if of_smaller else areas[order] + areas[best] - shared
        order = order[shared <= limit * whole]
    return chosen
