"""Fit an image into a square with black borders, by bilinear interpolation with antialiasing."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 224
# Values within this distance below an integer count as that integer: flat areas stay what they were.
_ROUNDING = 1e-3


def letterbox_224(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image scaled to fit into 224 x 224, centred, on black.

    The long side becomes 224, the short side is cut to an integer, an odd border pixel goes to the bottom or right.
    Values are cut to integers, as in the reference.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (224, 224, 3) uint8.

    Source: JavisDiT eval/javisbench, `ResizeAndPad` on float images and its conversion to uint8.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    rows, columns = max(SIDE * height // longest, 1), max(SIDE * width // longest, 1)
    values = image.astype(np.float32)
    if rows != height:
        values = _scaled(values, rows)  # (rows, W, 3)
    if columns != width:
        values = _scaled(values.swapaxes(0, 1), columns).swapaxes(0, 1)  # (rows, columns, 3)
    top, left = (SIDE - rows) // 2, (SIDE - columns) // 2
    canvas = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    canvas[top : top + rows, left : left + columns] = np.clip(values + _ROUNDING, 0, 255)
    return canvas


def _scaled(values: NDArray[np.float32], outputs: int) -> NDArray[np.float32]:
    """The first axis brought to another length."""
    inputs, *others = values.shape
    return np.asarray((_weights(inputs, outputs) @ values.reshape(inputs, -1)).reshape(outputs, *others))


@lru_cache(maxsize=64)
def _weights(inputs: int, outputs: int) -> Any:
    """Interpolation matrix (outputs, inputs): triangles as wide as the scale, at least one pixel; rows sum to 1.

    Sparse, because it holds few numbers that are not 0, and because this runs in threads, among which the threads of
    a dense product would only compete.
    """
    from scipy.sparse import csr_array

    scale = inputs / outputs
    support = max(scale, 1.0)
    centres = scale * (np.arange(outputs) + 0.5)  # (outputs,)
    distance = np.abs(np.arange(inputs) + 0.5 - centres[:, None]) / support
    triangles = np.maximum(1 - distance, 0)
    return csr_array((triangles / triangles.sum(axis=1, keepdims=True)).astype(np.float32))
