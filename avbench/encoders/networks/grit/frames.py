"""Frames as GRiT sees them: whole, and smaller where the shorter side exceeds 768 pixels. Imports torch."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.media.views import Pixels

_LARGEST = 768
_TARGET = 720.0


Resize = Literal["plain", "rounded", "antialias"]


def to_tensor(frame: Pixels, resize: Resize = "plain") -> Tensor:
    """A frame (H, W, 3) as float32 (3, h, w) in 0..255, its shorter side 720 if it exceeds 768.

    Args:
        frame: uint8.
        resize: bilinear in each case. "plain": without antialiasing, as torchvision did it by default up to 0.16, with
            which VBench's published numbers began. "antialias": as it does from 0.17 on. "rounded": to whole numbers
            with OpenCV, as the reference does for colours only.

    Source: vbench/object_class.py and color.py.
    """
    height, width = frame.shape[:2]
    shorter = min(height, width)
    if shorter <= _LARGEST:
        return _float(frame)
    scale = _TARGET / shorter
    size = int(scale * height), int(scale * width)
    if resize == "rounded":
        return _float(np.asarray(cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8))
    antialias = resize == "antialias"
    return F.interpolate(_float(frame)[None], size, mode="bilinear", align_corners=False, antialias=antialias)[0]


def _float(frame: Pixels) -> Tensor:
    return torch.from_numpy(frame.copy()).permute(2, 0, 1).float()
