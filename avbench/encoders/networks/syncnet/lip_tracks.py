"""The faces of a clip with their distances from the sound, and that as an array: embeddings are arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.networks.syncnet.windows import FPS, REACH

SHIFTS = 2 * REACH + 1


@dataclass(frozen=True)
class LipTrack:
    """One face.

    Attributes:
        first: its first frame at 25 frames per second.
        detections: frames in which it was detected.
        boxes: left, top, right, bottom in pixels for each of its frames, (F, 4).
        distances: of each window of its lips from the sound at shifts of -15 to 15 frames, (n, 31).
    """

    first: int
    detections: int
    boxes: NDArray[np.float32]
    distances: NDArray[np.float32]

    @property
    def size(self) -> float:
        """Mean width or mean height, whichever is larger, in pixels."""
        return float((self.boxes[:, 2:] - self.boxes[:, :2]).mean(axis=0, dtype=np.float64).max())


@dataclass(frozen=True)
class LipTracks:
    """The faces of a clip that are large and seen for long enough.

    Attributes:
        frames: of the clip at 25 frames per second.
        with_face: frames in which there is any face.
        first_tick: time of the first frame in units of 40 ms.
        tracks: in the order in which they begin.
    """

    frames: int
    with_face: int
    first_tick: int
    tracks: tuple[LipTrack, ...]

    def seconds(self, track: LipTrack) -> tuple[float, float]:
        """Begin and end of a track on the clip's timeline."""
        begin = self.first_tick + track.first
        return begin / FPS, (begin + len(track.boxes)) / FPS

    def as_array(self) -> NDArray[np.float32]:
        """All numbers in one row; whole ones are exact below 2^24."""
        parts = [np.array([self.frames, self.with_face, self.first_tick, len(self.tracks)], dtype=np.float32)]
        for track in self.tracks:
            head = [track.first, track.detections, len(track.boxes), len(track.distances)]
            parts += [np.array(head, dtype=np.float32), track.boxes.ravel(), track.distances.ravel()]
        return np.concatenate(parts).astype(np.float32)

    @classmethod
    def from_array(cls, packed: NDArray[np.float32]) -> LipTracks:
        """What `as_array` packed."""
        frames, with_face, first_tick, count = (int(value) for value in packed[:4])
        tracks, at = [], 4
        for _ in range(count):
            first, detections, seen, rows = (int(value) for value in packed[at : at + 4])
            at += 4
            boxes = packed[at : at + 4 * seen].reshape(seen, 4)
            at += boxes.size
            table = packed[at : at + SHIFTS * rows].reshape(rows, SHIFTS)
            at += table.size
            tracks.append(LipTrack(first, detections, boxes, table))
        return cls(frames, with_face, first_tick, tuple(tracks))
