"""Cuts between scenes, where the colours of two neighbouring frames differ at once."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

THRESHOLD = 27.0
SHORTEST = 15
_WIDTH = 256

Pixels = NDArray[np.uint8]


def scenes(frames: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """First frame and last frame + 1 of each scene of RGB frames (T, H, W, 3), which are only indexed.

    A scene begins where hue, saturation and value differ by 27 levels on average from the frame before, at least 15
    frames after the scene before.

    Source: PySceneDetect 0.6, ContentDetector with its defaults.
    """
    if len(frames) == 0:
        return []
    starts = [0]
    before = _colours(frames[0])
    for index in range(1, len(frames)):
        colours = _colours(frames[index])
        if index - starts[-1] >= SHORTEST and float(np.abs(colours - before).mean()) >= THRESHOLD:
            starts.append(index)
        before = colours
    return list(zip(starts, [*starts[1:], len(frames)], strict=True))


def _colours(frame: Pixels) -> NDArray[np.int16]:
    """Hue (0 to 179), saturation and value of a frame made about 256 pixels wide."""
    factor = max(1, frame.shape[1] // _WIDTH)
    size = round(frame.shape[1] / factor), max(1, round(frame.shape[0] / factor))
    small = frame if factor == 1 else cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2HSV), dtype=np.int16)
