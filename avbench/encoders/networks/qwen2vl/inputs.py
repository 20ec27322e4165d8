"""Images and videos as rows of patches. Imports torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
PATCH = 14
MERGE = 2
STEP = 2  # frames in one patch


def patches(frames: NDArray[np.uint8], device: torch.device) -> tuple[Tensor, tuple[int, int, int]]:
    """Normalised patches of a video, or of an image, which counts as two equal frames.

    Args:
        frames: (k, H, W, 3) uint8, sides in multiples of 28, k even or 1.

    Returns:
        (N, 1176) float32, in the order in which the network merges them, and the grid: steps, rows, columns.
    """
    pixels = torch.from_numpy(np.array(frames)).to(device).permute(0, 3, 1, 2).float()  # (k, 3, H, W)
    mean = torch.tensor(MEAN, device=device).view(3, 1, 1)
    std = torch.tensor(STD, device=device).view(3, 1, 1)
    pixels = (pixels / 255 - mean) / std
    if len(pixels) == 1:
        pixels = pixels.repeat(STEP, 1, 1, 1)
    steps, rows, columns = len(pixels) // STEP, pixels.shape[2] // PATCH, pixels.shape[3] // PATCH
    shape = (steps, STEP, 3, rows // MERGE, MERGE, PATCH, columns // MERGE, MERGE, PATCH)
    ordered = pixels.reshape(shape).permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return ordered.reshape(steps * rows * columns, 3 * STEP * PATCH * PATCH), (steps, rows, columns)


def tokens_of(grid: tuple[int, int, int]) -> int:
    """How many tokens the network makes of a grid of patches."""
    return grid[0] * grid[1] * grid[2] // MERGE**2
