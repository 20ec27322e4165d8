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
    stop = len(faces) if end is None else end
    left = [np.asarray(faces[frame], dtype=np.float64)[:, :4] for frame in range(start, stop)]
    tracks = []
    begin = 0
    while begin < len(left):
        if len(left[begin]) == 0:
            begin += 1
            continue
        frames, boxes = _chain(left, begin, overlap, gap)
        every = np.arange(frames[0], frames[-1] + 1)
        filled = np.column_stack([np.interp(every, frames, column) for column in np.array(boxes).T])
        tracks.append(FaceTrack(start + frames[0], filled, len(frames)))
    return tracks


def _chain(left: list[NDArray[np.float64]], begin: int, overlap: float, gap: int) -> tuple[list[int], list[Boxes]]:
    """Take the boxes of the track that begins at a frame out of those left over: their frames, and the boxes."""
    frames: list[int] = []
    boxes: list[Boxes] = []
    for at in range(begin, len(left)):
        if frames and at - frames[-1] > gap:
            break
        taken = _take(left[at], boxes, overlap)
        frames += [at] * len(taken)
        left[at] = np.delete(left[at], taken, axis=0)
    return frames, boxes


def _take(faces: NDArray[np.float64], boxes: list[Boxes], overlap: float) -> list[int]:
    """Add the faces of a frame that overlap with the box added last, or the first face to none; their positions."""
    taken: list[int] = []
    first = 0
    while first < len(faces):
        overlaps = intersections_over_unions(faces[first:], boxes[-1]) if boxes else np.full(1, np.inf)
        hits = np.flatnonzero(overlaps > overlap)
        if len(hits) == 0:
            break
        taken.append(first + int(hits[0]))
        boxes.append(faces[taken[-1]])
        first = taken[-1] + 2  # passes over the next face
    return taken


def intersections_over_unions(boxes: Boxes, other: Boxes) -> NDArray[np.float64]:
    """Of each of some boxes (n, 4) and one other (4,); 0 where neither has an area."""
    common = np.minimum(boxes[:, 2:], other[2:]) - np.maximum(boxes[:, :2], other[:2])
    shared = np.maximum(common, 0).prod(axis=1)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (other[2:] - other[:2]).prod() - shared
    return np.asarray(np.divide(shared, whole, out=np.zeros(len(boxes)), where=whole > 0))
