"""Dense optical flow as a per-frame series, shared by every metric that looks at motion."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avbench.media import Frame, FrameSeries

GRID = 8
"""The flow field is also kept as an 8 x 8 grid of mean vectors, enough to see a change of direction."""


def _farneback(previous: Frame | None, current: Frame) -> tuple[float, ...]:
    if previous is None:
        return (0.0,) * FLOW_WIDTH
    empty = np.zeros((*current.grey.shape, 2), dtype=np.float32)
    flow = cv2.calcOpticalFlowFarneback(previous.grey, current.grey, empty, 0.5, 3, 15, 3, 5, 1.2, 0)
    # NumPy, not cv2.magnitude and cv2.mean: those give other last bits for other memory alignments, and a peak
    # between two nearly equal frames then comes and goes from run to run.
    magnitude = np.sqrt(flow[..., 0] * flow[..., 0] + flow[..., 1] * flow[..., 1])
    grid = cv2.resize(flow, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return (float(magnitude.mean(dtype=np.float64)), *map(float, grid.ravel()))


FLOW_WIDTH = 1 + 2 * GRID * GRID
FLOW = FrameSeries("optical flow", _farneback, FLOW_WIDTH, heavy=True)
"""Column 0: mean magnitude in pixels per frame (Farneback, AV-Align's parameters). Then the grid, x and y."""


def flow_magnitude(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean magnitude per frame (T,); the first frame, which has no predecessor, repeats the second."""
    magnitude = series[:, 0].copy()
    if len(magnitude) > 1:
        magnitude[0] = magnitude[1]
    return magnitude


def motion_novelty(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Change of the flow field from frame to frame (T,), pixels per frame squared: starts, stops, bounces."""
    field = series[:, 1:].reshape(len(series), -1, 2)  # (T, GRID * GRID, 2)
    change = np.zeros(len(series))
    if len(series) > 2:
        change[2:] = np.linalg.norm(np.diff(field[1:], axis=0), axis=2).mean(axis=1)
    return change
