"""Choose and resize the frames for a Qwen2-VL judge. Imports no torch until a frame is resized."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avbench.media.sampling import Indices, Times

FACTOR = 28  # two patches of 14 pixels, which the network merges into one token
_FRAMES_PER_STEP = 2  # frames that the network merges into one step in time
_MIN_FRAMES = 4
_MAX_FRAMES = 768

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class EvenFrames:
    """An even number of frames spread over the clip at about `rate` frames per second, first and last included.

    At least 4 and at most 768, and never more than the clip has; one frame for a clip of one frame, which the judges
    that use this cannot rate.

    Source: KwaiVGI/VideoAlign, vision_process.py, sample type "uniform".
    """

    rate: float

    def indices(self, times: Times, fps: float, end: float | None = None) -> Indices:
        """Indices into `times` (T,), ascending."""
        total = len(times)
        if total < _FRAMES_PER_STEP:
            return np.arange(total)
        most = min(_MAX_FRAMES, total) // _FRAMES_PER_STEP * _FRAMES_PER_STEP
        wanted = min(max(total / fps * self.rate, _MIN_FRAMES), most)
        count = min(round(wanted / _FRAMES_PER_STEP) * _FRAMES_PER_STEP, total)
        return np.round(_linspace(total - 1, count)).astype(np.int64)


def _linspace(end: int, count: int) -> NDArray[np.float32]:
    """`count` numbers from 0 to `end` as torch.linspace rounds them: float32, each half from its own end."""
    if count == 1:
        return np.zeros(1, np.float32)
    step = np.float32(end) / np.float32(count - 1)
    rising = np.arange(count, dtype=np.float32)
    first = step * rising
    last = np.float32(end) - step * rising[::-1]
    return np.where(np.arange(count) < count // 2, first, last)


def target_size(height: int, width: int, low: int, high: int) -> tuple[int, int]:
    """Height and width in multiples of 28 whose area lies within bounds, near the aspect ratio of an image.

    Args:
        height, width: pixels of the image.
        low, high: least and greatest area in pixels. With both the same the area is near them, not equal.

    Raises:
        ValueError: an image more than 200 times as long as wide, or one whose short side would vanish.

    Source: KwaiVGI/VideoAlign, vision_process.py, which follows qwen-vl-utils.
    """
    if max(height, width) > 200 * min(height, width):
        raise ValueError(f"aspect ratio over 200: {width} x {height}")
    sides = max(FACTOR, round(height / FACTOR) * FACTOR), max(FACTOR, round(width / FACTOR) * FACTOR)
    if sides[0] * sides[1] > high:
        scale = math.sqrt(height * width / high)
        sides = math.floor(height / scale / FACTOR) * FACTOR, math.floor(width / scale / FACTOR) * FACTOR
    elif sides[0] * sides[1] < low:
        scale = math.sqrt(low / (height * width))
        sides = math.ceil(height * scale / FACTOR) * FACTOR, math.ceil(width * scale / FACTOR) * FACTOR
    if min(sides) == 0:
        raise ValueError(f"an image of {width} x {height} would be resized to {sides[1]} x {sides[0]}")
    return sides


def resize_torch(frame: Pixels, low: int, high: int) -> Pixels:
    """A frame (H, W, 3) at its target size: bicubic with antialias in float32, clamped and rounded to 8 bit."""
    import torch
    from torch.nn.functional import interpolate

    # Channels last, as frames arrive: another memory layout sums in another order.
    pixels = torch.tensor(frame).permute(2, 0, 1)[None].float()  # (1, 3, H, W)
    size = target_size(frame.shape[0], frame.shape[1], low, high)
    resized = interpolate(pixels, size=size, mode="bicubic", align_corners=False, antialias=True)
    return np.asarray(resized[0].clamp(0, 255).round().byte().permute(1, 2, 0).numpy())


def resize_pillow(frame: Pixels, low: int, high: int) -> Pixels:
    """A frame (H, W, 3) at its target size, by Pillow's bicubic filter."""
    from PIL import Image

    height, width = target_size(frame.shape[0], frame.shape[1], low, high)
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8)
