"""How far the mouths of a clip are open over time, by MTCNN and FaceMesh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.face_tracks import FaceTrack, face_tracks
from avbench.encoders.networks.mtcnn.encoders import shrunk
from avbench.media import AtRate, Frames

if TYPE_CHECKING:
    from torch import Tensor

ROW = "face_mesh"
RATE = 10.0
"""Frames per second in which mouths are looked at."""
FACES_EVERY = 4
"""Faces are looked for in each fourth of them; between, their boxes are interpolated."""
CONFIDENCE = 0.9
OVERLAP = 0.3
GAP = 2
LEAST_DETECTIONS = 2
AROUND = 1.5
"""Side of the square that is cut out, in longer sides of the box."""
SIDE = 192
BATCH = 16
# Numbers of points: middle of the upper and of the lower lip inside, top of the forehead, chin.
UPPER, LOWER, FOREHEAD, CHIN = 13, 14, 10, 152

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class MouthReader:
    """MTCNN and FaceMesh."""

    cascade: Any
    network: Any

    def faces(self, frame: Pixels) -> NDArray[np.float64]:
        """Boxes (n, 4) of the sure faces in a frame (H, W, 3)."""
        from avbench.encoders.networks.mtcnn.cascade import find_faces

        small = shrunk(frame)
        faces = find_faces(self.cascade, small)
        scale = np.array([frame.shape[1] / small.shape[1], frame.shape[0] / small.shape[0]] * 2)
        return np.asarray(faces[faces[:, 4] >= CONFIDENCE, :4] * scale)

    def mouths(self, crops: Sequence[Pixels]) -> Rows:
        """Opening and logit of a face (n, 2) in squares cut out around a face, RGB (192, 192, 3)."""
        import torch

        weight = next(self.network.parameters())

        def forward(images: list[Pixels]) -> Tensor:
            pixels = torch.from_numpy(np.stack(images)).to(weight.device).permute(0, 3, 1, 2)
            points, flag = self.network(pixels.to(weight.dtype) / 255)
            return torch.stack([_opening(points.float()), flag.float()], dim=1)

        return batched(forward, [crops], BATCH, "FaceMesh")[0]


def _opening(points: Tensor) -> Tensor:
    """Distance of the lips over the height of the face (B,), of points (B, 468, 3)."""
    flat = points[..., :2]
    lips = (flat[:, UPPER] - flat[:, LOWER]).norm(dim=1)
    height = (flat[:, FOREHEAD] - flat[:, CHIN]).norm(dim=1).clamp_min(1e-6)
    opening: Tensor = lips / height
    return opening


def cut_out(frame: Pixels, box: NDArray[np.floating]) -> Pixels:
    """The square around a box (4,) as 192 x 192 pixels, black beyond the frame."""
    side = AROUND * float(max(box[2] - box[0], box[3] - box[1], 1e-3))
    corner = (box[:2] + box[2:]) / 2 - side / 2
    scale = SIDE / side
    transform = np.array([[scale, 0, -corner[0] * scale], [0, scale, -corner[1] * scale]])
    return np.asarray(cv2.warpAffine(frame, transform, (SIDE, SIDE), flags=cv2.INTER_LINEAR), dtype=np.uint8)


def _load(context: LoadContext) -> MouthReader:
    from avbench.encoders.networks.facemesh.network import load
    from avbench.encoders.networks.mtcnn.network import load as load_cascade

    return MouthReader(load_cascade(context), load(context))


def _run(reader: MouthReader, clips: Sequence[ClipInput]) -> list[Rows]:
    return [_mouths(reader, clip.views[0]) for clip in clips]


def _mouths(reader: MouthReader, frames: Pixels) -> Rows:
    faces = [reader.faces(frame) for frame in frames[::FACES_EVERY]]
    tracks = [track for track in face_tracks(faces, overlap=OVERLAP, gap=GAP) if track.detections >= LEAST_DETECTIONS]
    rows = [np.zeros((0, 4), np.float32)]
    for number, track in enumerate(tracks):
        seen = list(_boxes(track))
        openings = reader.mouths([cut_out(frames[frame], box) for frame, box in seen])
        rows.append(np.column_stack([np.full(len(seen), number), [frame for frame, _ in seen], openings]))
    return np.concatenate(rows).astype(np.float32)


def _boxes(track: FaceTrack) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Number of each frame from the first to the last detection, and the box in it."""
    known = FACES_EVERY * np.arange(track.first, track.last + 1)
    frames = np.arange(known[0], known[-1] + 1)
    boxes = np.column_stack([np.interp(frames, known, column) for column in track.boxes.T])
    yield from zip(frames.tolist(), boxes, strict=True)


FACE_MESH = Backbone(name=ROW, load=_load, row=ROW)

MOUTHS = Encoder("mouths", 1, FACE_MESH, _run, views=(Frames(AtRate(RATE)),))
"""Ten frames per second -> (N, 4): number of the face, number of the frame, opening of the mouth, logit of a face."""
