"""Numbers per frame that all picture metrics read: integer passes of OpenCV, no float image is made.

Luma is BT.601 as OpenCV computes it, 8 bit full range.
"""

from __future__ import annotations

import math
from enum import IntEnum, auto

import cv2
import numpy as np

from avbench.media import Frame, FrameSeries
from avbench.media.views import Pixels

# Luma within 2 % of either end of the range carries no visible detail.
CRUSHED, BLOWN = 5, 250
BLACK_LUMA = 0.10  # FFmpeg blackdetect: pixel_black_th
GRID = 8
HALF_STEP = 0.5  # rounding error of 8-bit luma
THUMB_SIDE = 16


class Col(IntEnum):
    """Columns of the series; the thumbnail follows them."""

    SHARPNESS = 0
    LUMA = auto()
    CRUSHED = auto()
    BLOWN = auto()
    BLACK = auto()
    COLOUR = auto()
    BLOCKS = auto()
    CHANGE = auto()
    THUMB = auto()


def _step(previous: Frame | None, frame: Frame) -> tuple[float, ...]:
    grey = frame.grey
    change = math.nan if previous is None else cv2.norm(previous.grey, grey, cv2.NORM_L1) / grey.size
    thumb = cv2.resize(grey, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
    return (
        _sharpness(grey),
        *_tones(grey),
        _colour(frame.rgb),
        _blocks(grey),
        change,
        *thumb.ravel().tolist(),
    )


PICTURE = FrameSeries("picture", _step, width=Col.THUMB + THUMB_SIDE * THUMB_SIDE)


def _sharpness(grey: Pixels) -> float:
    # 16 bit holds the Laplacian of 8-bit luma (-1020..1020) exactly.
    edges = cv2.Laplacian(grey, cv2.CV_16S)
    mean = float(cv2.sumElems(edges)[0]) / edges.size
    return max(cv2.norm(edges, cv2.NORM_L2SQR) / edges.size - mean * mean, 0.0)


def _tones(grey: Pixels) -> tuple[float, float, float, float]:
    """Mean luma 0..1 and fractions of crushed, blown and black pixels, from one histogram."""
    fractions = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().astype(np.float64) / grey.size  # (256,)
    black = math.floor(BLACK_LUMA * 255)
    mean = float(fractions @ np.arange(256)) / 255
    below, above, dark = fractions[: CRUSHED + 1].sum(), fractions[BLOWN:].sum(), fractions[: black + 1].sum()
    return min(mean, 1.0), float(below), float(above), float(dark)


def _colour(rgb: Pixels) -> float:
    """M3 of Hasler & Suesstrunk from sums of squared channel differences, without a float image."""
    red, green, blue = cv2.split(rgb)
    size = red.size
    r, g, b = (float(value) for value in cv2.mean(rgb)[:3])
    rg2 = cv2.norm(red, green, cv2.NORM_L2SQR) / size
    rb2 = cv2.norm(red, blue, cv2.NORM_L2SQR) / size
    gb2 = cv2.norm(green, blue, cv2.NORM_L2SQR) / size
    # (r + g - 2b)^2 = 2 (r - b)^2 + 2 (g - b)^2 - (r - g)^2
    yb2 = (2 * rb2 + 2 * gb2 - rg2) / 4
    mean2 = (r - g) ** 2 + (0.5 * (r + g) - b) ** 2
    return math.sqrt(max(rg2 + yb2 - mean2, 0.0)) + 0.3 * math.sqrt(mean2)


def _blocks(grey: Pixels) -> float:
    """Ratio of luma steps across the 8-pixel grid to steps elsewhere; NaN where no grid line fits."""
    total = edge = 0.0
    pairs = edge_pairs = 0
    for plane in (grey, cv2.transpose(grey)):  # steps between rows, then between columns
        if len(plane) < 2:
            continue
        total += cv2.norm(plane[1:], plane[:-1], cv2.NORM_L1)
        pairs += plane[1:].size
        lines = plane[GRID::GRID]
        if len(lines):
            edge += cv2.norm(lines, plane[GRID - 1 : -1 : GRID], cv2.NORM_L1)
            edge_pairs += lines.size
    if edge_pairs == 0:
        return math.nan
    inside = (total - edge) / (pairs - edge_pairs)
    return (edge / edge_pairs + HALF_STEP) / (inside + HALF_STEP)
