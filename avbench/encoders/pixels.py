"""Images as tensors: batches of frames, sides that fit a network, positions of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avbench.media.spool import release_pages

if TYPE_CHECKING:
    from torch import Tensor, device

Sides = tuple[int, int]


def padded_sides(height: int, width: int, multiple: int) -> Sides:
    """The next multiples of `multiple`, (height, width)."""
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def image_batch(frames: NDArray[np.uint8], indices: Sequence[int], device: device) -> Tensor:
    """Some of the frames (T, H, W, 3) as float32 0..255, (B, 3, H, W); those of a file do not stay in memory."""
    import torch

    chosen = np.stack([frames[index] for index in indices])
    release_pages(frames)
    return torch.from_numpy(chosen).to(device).permute(0, 3, 1, 2).float()


def replicate_padded(images: Tensor, multiple: int) -> Tensor:
    """Images (B, C, H, W) with borders repeated up to the next multiples; the odd pixel goes right and below."""
    from torch.nn.functional import pad

    left, right, top, bottom = _margins(images.shape[-2], images.shape[-1], multiple)
    return pad(images, (left, right, top, bottom), mode="replicate")


def cropped(images: Tensor, height: int, width: int, multiple: int) -> Tensor:
    """What `replicate_padded` was given, of images (B, C, H', W')."""
    left, _, top, _ = _margins(height, width, multiple)
    return images[..., top : top + height, left : left + width]


def positions(like: Tensor) -> Tensor:
    """x and y of each pixel of `like` (B, C, h, w): (1, 2, h, w)."""
    import torch

    height, width = like.shape[-2:]
    rows, columns = (torch.arange(size, device=like.device, dtype=like.dtype) for size in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y])[None]


def _margins(height: int, width: int, multiple: int) -> tuple[int, int, int, int]:
    tall, wide = padded_sides(height, width, multiple)
    top, left = (tall - height) // 2, (wide - width) // 2
    return left, wide - width - left, top, tall - height - top
