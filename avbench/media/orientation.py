"""How a player turns and mirrors decoded frames."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from avbench.errors import MediaError

_MATRIX = struct.Struct("=9i")
# An angle is a quarter turn when it is one after rounding to whole degrees, as for FFmpeg.
_QUARTER = 90
# FFmpeg shows what is off by up to a degree as it is; the entries of a matrix are rounded.
_UPRIGHT_DEGREES = 1.001


@dataclass(frozen=True)
class Orientation:
    """Swap the axes, then flip them.

    Attributes:
        transpose: rows become columns.
        flip_columns, flip_rows: left becomes right, top becomes bottom, after the swap.
    """

    transpose: bool = False
    flip_columns: bool = False
    flip_rows: bool = False

    def apply(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """(H, W, 3) as shown, contiguous."""
        shown = pixels.swapaxes(0, 1) if self.transpose else pixels
        shown = shown[:, ::-1] if self.flip_columns else shown
        return np.ascontiguousarray(shown[::-1] if self.flip_rows else shown)


UPRIGHT = Orientation()


def orientation_of(frame: VideoFrame) -> Orientation:
    """The orientation that a frame's display matrix asks for.

    Raises:
        MediaError: the matrix turns the frame by an angle that is no multiple of 90 degrees.
    """
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # A kind of side data that this PyAV has no name for hides all others; the angle is all that can be had.
        return _by_angle(int(frame.rotation))
    return UPRIGHT if matrix is None else from_matrix(bytes(matrix))


@lru_cache(maxsize=64)
def from_matrix(data: bytes) -> Orientation:
    """The orientation of a display matrix: nine 32-bit integers (a b u, c d v, x y w), x' = ax + cy, y' = bx + dy.

    Scale and position do not matter, and a matrix that is no rotation at all (zeros) changes nothing.

    Raises:
        MediaError: as `orientation_of`.
    Source: FFmpeg, libavutil/display.h and the option -autorotate.
    """
    a, b, _, c, d = _MATRIX.unpack(data)[:5]
    across, down = math.hypot(a, c), math.hypot(b, d)
    if not across or not down:
        return UPRIGHT
    exact = math.degrees(math.atan2(b / down, a / across))
    angle = round(exact / _QUARTER) * _QUARTER
    if abs(exact - angle) > _UPRIGHT_DEGREES:
        raise MediaError(f"the display matrix turns the video by {exact:.0f} degrees; only quarter turns can be shown")
    if angle % 180:
        return Orientation(transpose=True, flip_columns=c < 0, flip_rows=b < 0)
    return Orientation(flip_columns=a < 0, flip_rows=d < 0)


def _by_angle(degrees: int) -> Orientation:
    turns = round(degrees / _QUARTER) % 4
    return (UPRIGHT, Orientation(True, False, True), Orientation(False, True, True), Orientation(True, True))[turns]
