"""Cut a face out of its frames as SyncNet was trained: smoothed boxes, the chin in view, 224 x 224 pixels."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 224
CROP_SCALE = 0.4
_SMOOTH = 13
_BORDER = 110

Pixels = NDArray[np.uint8]


class Centre(NamedTuple):
    """Centre of a face and half of its longer side, in pixels of the frame."""

    x: float
    y: float
    half: float


class Bounds(NamedTuple):
    """A cut in a frame that has `pad` pixels added on each side."""

    pad: int
    top: int
    bottom: int
    left: int
    right: int


def smoothed(boxes: NDArray[np.floating]) -> list[Centre]:
    """Centres of boxes (F, 4), each number the median of 13 frames.

    Beyond the ends the reference counts zeros, so the first and last six frames are drawn to smaller numbers.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    columns = (middle[:, 0], middle[:, 1], sides.max(axis=1) / 2)
    with np.errstate(invalid="ignore"):
        x, y, half = (_median(column) for column in columns)
    return [Centre(*map(float, row)) for row in zip(x, y, half, strict=True)]


def _median(column: NDArray[np.floating]) -> NDArray[np.float64]:
    from scipy.signal import medfilt

    reach = _SMOOTH // 2  # SciPy warns about tracks that are shorter than the filter, so they are padded here
    return np.asarray(medfilt(np.pad(column.astype(np.float64), reach), _SMOOTH)[reach : len(column) + reach])


def bounds(centre: Centre) -> Bounds:
    """What is cut around a face: more below than above, so that the chin is seen."""
    down, across = 1 + 2 * CROP_SCALE, 1 + CROP_SCALE
    pad = int(centre.half * down)
    y, x = centre.y + pad, centre.x + pad
    return Bounds(
        pad,
        int(y - centre.half),
        int(y + centre.half * down),
        int(x - centre.half * across),
        int(x + centre.half * across),
    )


def crop(frame: Pixels, centre: Centre) -> Pixels:
    """The face in a frame (H, W, 3), grey where the frame ends, (224, 224, 3)."""
    height, width = frame.shape[:2]
    pad, top, bottom, left, right = bounds(centre)
    top, left = max(top, 0), max(left, 0)
    bottom, right = min(bottom, height + 2 * pad), min(right, width + 2 * pad)
    # A face wholly outside of its frame, which only a wild detector finds, is one grey pixel.
    cut = np.full((max(bottom - top, 1), max(right - left, 1), 3), _BORDER, dtype=np.uint8)
    rows = slice(max(top - pad, 0), max(min(bottom - pad, height), 0))
    columns = slice(max(left - pad, 0), max(min(right - pad, width), 0))
    inside = frame[rows, columns]
    if inside.size:
        down, across = max(pad - top, 0), max(pad - left, 0)
        cut[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    return np.asarray(cv2.resize(cut, (SIDE, SIDE)), dtype=np.uint8)
