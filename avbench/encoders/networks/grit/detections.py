"""What GRiT finds in the frames of a clip, and its form as an array that the store keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Detection:
    """One object in one frame.

    Attributes:
        box: left, top, right and bottom in pixels of the frame as the network saw it, cut to whole numbers.
        name: name of the object, one of the classes that the network was trained on if all is well.
        caption: sentence about the region.
    """

    box: Box
    name: str
    caption: str = ""


FrameDetections = Sequence[Sequence[Detection]]
"""The detections of each frame, surest first."""


def to_array(detections: FrameDetections) -> NDArray[np.uint8]:
    """Detections as the bytes of a JSON text, because texts of any length fit into no table of numbers."""
    rows = [[[*detection.box, detection.name, detection.caption] for detection in frame] for frame in detections]
    return np.frombuffer(json.dumps(rows).encode(), dtype=np.uint8)


def from_array(array: NDArray[np.uint8]) -> list[list[Detection]]:
    """The detections that `to_array` made an array of."""
    rows = json.loads(array.tobytes())
    return [[Detection((x0, y0, x1, y1), *texts) for x0, y0, x1, y1, *texts in frame] for frame in rows]
