"""Region weights as heat over frames: PNG images as data addresses."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avbench.pages.media import data_address
from omninft_train.report.content import Overlay

_NARROWEST, _WIDEST = 144, 480  # pixels of a frame on the page
_HEAT = 0.62  # fraction of the heat's colour; the rest is the frame in grey
# From the lowest to the largest weight; brightness rises along it, so it reads without colour too.
_RAMP = np.array([[16, 10, 70], [120, 28, 130], [212, 60, 88], [248, 146, 34], [252, 240, 144]], np.float64)


@dataclass(frozen=True)
class HeatFrame:
    """A frame as it is and under heat, and its lowest and largest weight."""

    plain: str
    heat: str
    low: float
    high: float


@dataclass(frozen=True)
class HeatScale:
    """Weights at the ends of the colour scale, and an image of it."""

    low: float
    high: float
    picture: str


def heat_scale(overlay: Overlay) -> HeatScale:
    """The colour scale of a clip, from 1 (or the lowest weight if that is less) to the largest weight allowed."""
    low = min([1.0, *(float(weights.min()) for weights in overlay.weights if weights.size)])
    high = max([overlay.maximum, low])
    strip = np.full((1, 256, 3), 128, np.uint8)
    return HeatScale(low, high, _png(_blend(strip, np.linspace(0, 1, 256)[None])))


def heat_frames(overlay: Overlay, scale: HeatScale) -> list[HeatFrame]:
    """Each frame as it is, and in grey under the colour of its weights.

    Raises:
        ValueError: not one array of weights for each frame.
    """
    frames = []
    for pixels, weights in zip(overlay.frames, overlay.weights, strict=True):
        frame = _fit(pixels)
        span = scale.high - scale.low
        fraction = (weights - scale.low) / span if span > 0 else np.zeros(weights.shape)
        heat = _blend(frame, _nearest(np.clip(fraction, 0, 1), frame.shape[0], frame.shape[1]))
        frames.append(HeatFrame(_png(frame), _png(heat), float(weights.min()), float(weights.max())))
    return frames


def _blend(frame: NDArray[np.uint8], fraction: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey frame (H, W, 3) under heat; fractions (H, W) in [0, 1]."""
    grey = (frame @ np.array([0.299, 0.587, 0.114]))[..., None]  # (H, W, 1)
    stops = np.linspace(0, 1, len(_RAMP))
    colour = np.stack([np.interp(fraction, stops, channel) for channel in _RAMP.T], axis=-1)  # (H, W, 3)
    mixed: NDArray[np.uint8] = np.round(_HEAT * colour + (1 - _HEAT) * grey).astype(np.uint8)
    return mixed


def _fit(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame at a width that can be seen, by whole factors."""
    width = frame.shape[1]
    if width > _WIDEST:
        step = math.ceil(width / _WIDEST)
        return frame[::step, ::step]
    factor = math.ceil(_NARROWEST / width)
    return frame.repeat(factor, axis=0).repeat(factor, axis=1)


def _nearest(values: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Values (h, w) at (height, width) pixels, each pixel from the cell that its centre lies in."""
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(int)
    return np.asarray(values[rows][:, columns])


def _png(pixels: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", optimize=True)
    return data_address("image/png", file.getvalue())
