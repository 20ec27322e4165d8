"""Per-frame image transforms that several encoders share, so that each frame is resized once."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avbench.encoders.interpolation import resize
from avbench.media.views import Pixels

SIDE = 224


def resize_crop_224(frame: Pixels) -> Pixels:
    """Short side to 224 with Pillow's bicubic filter, then the central square.

    Args:
        frame: (H, W, 3) uint8.

    Returns:
        (224, 224, 3) uint8.

    Source: openai/CLIP preprocessing; JavisDiT eval/javisbench, the frames of AVHScore.
    """
    from PIL import Image

    height, width = _sides(frame, _long_side(frame))
    image = Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)
    left, top = _middle(width), _middle(height)
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), dtype=np.uint8)


def bicubic_crop_224(frame: Pixels) -> NDArray[np.float32]:
    """Short side to 224, bicubic without antialias, then the central square.

    Args:
        frame: (H, W, 3) uint8.

    Returns:
        (224, 224, 3) float32 in the units of the pixels, neither rounded nor clamped: edges overshoot 0 to 255.

    Source: VBench, vbench/utils.py, the transform of CLIP on float tensors.
    """
    height, width = _sides(frame, _long_side(frame))
    left, top = _middle(width), _middle(height)
    return resize(frame, height, width, "bicubic")[top : top + SIDE, left : left + SIDE].copy()


def bilinear_224(frame: Pixels) -> NDArray[np.float32]:
    """Short side to 224, bilinear without antialias, uncropped, in torch's own arithmetic.

    Args:
        frame: (H, W, 3) uint8.

    Returns:
        (h, w, 3) float32 in 0 to 255, not rounded.

    Source: VBench, vbench/utils.py, the transform of DINO on tensors.
    """
    return resize(frame, *_sides(frame, _long_side(frame)), kernel="bilinear")


def short_side_224(frame: Pixels) -> NDArray[np.float32]:
    """Short side to 224, bilinear without antialias, uncropped.

    Args:
        frame: (H, W, 3) uint8.

    Returns:
        (h, w, 3) float32 in [0, 1]. Not rounded to 8 bit, because the reference is not.

    Source: ShortSideScale of pytorchvideo, as ImageBind uses it on video clips.
    """
    # Not the product above: the two round differently where the long side comes out whole.
    height, width = _sides(frame, int(max(frame.shape[:2]) / min(frame.shape[:2]) * SIDE))
    scaled = np.multiply(frame, np.float32(1 / 255), dtype=np.float32)
    return np.asarray(cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _long_side(frame: Pixels) -> int:
    """The long side, in pixels, when the short one becomes 224, as torchvision rounds it."""
    return int(SIDE * max(frame.shape[:2]) / min(frame.shape[:2]))


def _middle(side: int) -> int:
    """Where the central 224 pixels of a side begin; half to even, as torchvision's centre crop rounds."""
    return round((side - SIDE) / 2)


def _sides(frame: Pixels, long: int) -> tuple[int, int]:
    """Height and width when the short side becomes 224 and the other one `long`."""
    return (long, SIDE) if frame.shape[0] >= frame.shape[1] else (SIDE, long)
