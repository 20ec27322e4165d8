"""Resize frames as torch's `interpolate` does without antialiasing, in threads and without torch.

Positions and weights are computed in float32 as torch computes them: OpenCV's differ, which moves a normalised pixel
of a large frame by more than 1e-4.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avbench.media.views import Pixels

Kernel = Literal["bilinear", "bicubic"]
Values = NDArray[np.float32]

# The parameter of Keys' cubic kernel in torch and OpenCV; Pillow takes -0.5.
_CUBIC = np.float32(-0.75)


def resize(frame: Pixels, height: int, width: int, kernel: Kernel) -> Values:
    """A frame (H, W, 3) at another size: (height, width, 3) float32 in the units of its pixels.

    Nothing is rounded or clamped, so that bicubic values overshoot the range of the pixels.
    """
    return _scaled(_scaled(frame, 0, height, kernel), 1, width, kernel)


def _scaled(values: NDArray[np.generic], axis: Literal[0, 1], outputs: int, kernel: Kernel) -> Values:
    """One axis brought to another length."""
    inputs = values.shape[axis]
    if inputs == outputs:
        return values.astype(np.float32, copy=False)
    taps, weights = _taps(inputs, outputs, kernel)
    along = (-1, 1, 1) if axis == 0 else (-1, 1)
    parts = (
        np.multiply(values.take(tap, axis), weight.reshape(along), dtype=np.float32)
        for tap, weight in zip(taps, weights, strict=True)
    )
    return reduce(np.add, parts)


@lru_cache(maxsize=64)
def _taps(inputs: int, outputs: int, kernel: Kernel) -> tuple[NDArray[np.int64], Values]:
    """Indices and weights (taps, outputs) of the input that each output is made of.

    Positions beyond the border count for the border.
    """
    # torch's product and difference are one instruction, which rounds once.
    scale = float(np.float32(inputs) / np.float32(outputs))
    positions = (scale * (np.arange(outputs) + 0.5) - 0.5).astype(np.float32)
    if kernel == "bilinear":
        positions = np.maximum(positions, np.float32(0))
    first = np.floor(positions)
    weights = _linear(positions - first) if kernel == "bilinear" else _cubic(positions - first)
    start = 1 - len(weights) // 2
    taps = first.astype(np.int64) + np.arange(start, start + len(weights))[:, None]
    return np.clip(taps, 0, inputs - 1), weights


def _linear(rest: Values) -> Values:
    """Weights (2, N) of the pixels before and after positions that lie `rest` (N,) after a pixel."""
    return np.stack([1 - rest, rest])


def _cubic(rest: Values) -> Values:
    """Weights (4, N) of the two pixels before and the two after (Keys 1981)."""

    def near(x: Values) -> Values:
        return ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1

    def far(x: Values) -> Values:
        return ((_CUBIC * x - 5 * _CUBIC) * x + 8 * _CUBIC) * x - 4 * _CUBIC

    return np.stack([far(rest + 1), near(rest), near(1 - rest), far(2 - rest)])
