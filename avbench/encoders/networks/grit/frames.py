"""Frames as GRiT sees them: whole, and smaller where the shorter side exceeds 768 pixels. Imports torch."""

from __future__ import annotations

from typing import Literal

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.media.views import Pixels

Resize = Literal["smooth", "aliased", "aliased_8bit"]
"""How frames become smaller: bilinear with antialias; without; without and rounded to 8 bit."""

_LARGEST = 768
_TARGET = 720.0


def to_tensor(frame: Pixels, resize: Resize) -> Tensor:
    """A frame (H, W, 3) as float32 (3, h, w) in 0..255, its shorter side 720 if it exceeds 768.

    Source: vbench/object_class.py and color.py.
    """
    height, width = frame.shape[:2]
    shorter = min(height, width)
    if shorter <= _LARGEST:
        return _float(frame)
    scale = _TARGET / shorter
    size = int(scale * height), int(scale * width)
    if resize == "aliased_8bit":
        return _float(cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LINEAR).astype("uint8"))
    return F.interpolate(_float(frame)[None], size, mode="bilinear", antialias=resize == "smooth")[0]


def _float(frame: Pixels) -> Tensor:
    return torch.from_numpy(frame.copy()).permute(2, 0, 1).float()
