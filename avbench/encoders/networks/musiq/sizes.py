"""At which sizes MUSIQ sees a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.interpolation import resize
from avbench.media.views import Pixels

LONGEST = 512
SCALES = (224, 384)  # longer sides of the two copies
Size = tuple[int, int]


def frame_size(height: int, width: int) -> Size:
    """Height and width of a frame once its longer side is at most 512 pixels.

    Cut to integers as the reference cuts them: for some sizes, such as 561, the longer side becomes 511.
    """
    if max(height, width) <= LONGEST:
        return height, width
    scale = LONGEST / max(height, width)
    return int(scale * height), int(scale * width)


def copy_sizes(height: int, width: int) -> list[Size]:
    """Sizes of the copies of a frame of this size, smallest first, whether they are smaller or larger than it."""
    ratios = [side / max(height, width) for side in SCALES]
    return [(round(height * ratio), round(width * ratio)) for ratio in ratios]


def is_too_narrow(height: int, width: int) -> bool:
    """Whether nothing is left of a frame's shorter side at one of the sizes."""
    size = frame_size(height, width)
    return min(size) == 0 or min(map(min, copy_sizes(*size))) == 0


def shrink(frame: Pixels) -> NDArray[np.generic]:
    """A frame with its longer side at most 512 pixels, bilinear without antialias.

    Args:
        frame: (H, W, 3) uint8.

    Returns:
        (h, w, 3) in 0 to 255: float32, not rounded; the frame itself, uint8, where it is small enough.

    Source: VBench, vbench/imaging_quality.py, its mode "longer".
    """
    size = frame_size(*frame.shape[:2])
    return frame if size == frame.shape[:2] else resize(frame, *size, kernel="bilinear")
