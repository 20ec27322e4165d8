"""Follow faces from frame to frame: which boxes of a clip are one face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]


@dataclass(frozen=True)
class FaceTrack:
    """One face over a stretch of frames.

    Attributes:
        first: index of its first frame.
        boxes: left, top, right, bottom in every frame from there on, (F, 4); between detections interpolated.
        detections: frames in which it was detected.
    """

    first: int
    boxes: NDArray[np.float64]
    detections: int

    @property
    def last(self) -> int:
        """Index of its last frame."""
        return self.first + len(self.boxes) - 1

    @property
    def size(self) -> float:
        """Mean width or mean height, whichever is larger, in pixels."""
        return float((self.boxes[:, 2:] - self.boxes[:, :2]).mean(axis=0).max())


def face_tracks(
    faces: Sequence[Boxes], *, overlap: float = 0.5, gap: int = 25, start: int = 0, end: int | None = None
) -> list[FaceTrack]:
    """Tracks of the faces in frames `start` to `end`, in the order in which they are begun.

    A track begins with the first face that belongs to none, and takes each face that overlaps with the one that it took
    last. The next face of the same frame is then passed over, which keeps two overlapping boxes apart.

    Args:
        faces: per frame boxes (n, 4) or more columns, the first four left, top, right, bottom.
        overlap: smallest intersection over union with the last box, itself excluded.
        gap: most frames from one detection to the next.
        start, end: frames to look at; all by default.

    Source: joonson/syncnet_python, run_pipeline.py.
    """
    left = [[(frame, box[:4]) for box in faces[frame]] for frame in range(start, len(faces) if end is None else end)]
    tracks = []
    while chain := _chain(left, overlap, gap):
        frames = np.array([frame for frame, _ in chain])
        boxes = np.array([box for _, box in chain], dtype=np.float64)
        every = np.arange(frames[0], frames[-1] + 1)
        filled = np.column_stack([np.interp(every, frames, column) for column in boxes.T])
        tracks.append(FaceTrack(int(frames[0]), filled, len(chain)))
    return tracks


def _chain(left: list[list[tuple[int, Boxes]]], overlap: float, gap: int) -> list[tuple[int, Boxes]]:
    """Take the faces of one track out of those left over."""
    chain: list[tuple[int, Boxes]] = []
    for faces in left:
        if chain and faces and faces[0][0] - chain[-1][0] > gap:
            break
        at = 0
        while at < len(faces):
            if not chain or intersection_over_union(faces[at][1], chain[-1][1]) > overlap:
                chain.append(faces.pop(at))
            at += 1  # after a hit this passes over the next face
    return chain


def intersection_over_union(first: Boxes, second: Boxes) -> float:
    """Of two boxes (4,); 0 where neither has an area."""
    left, top, right, bottom = (float(value) for value in first)
    other_left, other_top, other_right, other_bottom = (float(value) for value in second)
    width, height = min(right, other_right) - max(left, other_left), min(bottom, other_bottom) - max(top, other_top)
    shared = max(width, 0.0) * max(height, 0.0)
    whole = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top) - shared
    return shared / whole if whole > 0 else 0.0
