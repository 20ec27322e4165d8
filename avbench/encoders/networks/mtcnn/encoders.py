"""The faces in five frames of each second of a clip, by MTCNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.media import AtRate, Frames

ROW = "mtcnn"
RATE = 5.0
"""Frames per second that are looked at."""
SAMPLING = AtRate(RATE)
WIDTH = 640
"""Pixels to which wider frames are scaled: a face of 20 such pixels is the smallest one found."""

Pixels = NDArray[np.uint8]
Faces = NDArray[np.float32]


def shrunk(frame: Pixels) -> Pixels:
    """A frame (H, W, 3) at most 640 pixels wide, averaged over areas."""
    height, width = frame.shape[:2]
    if width <= WIDTH:
        return frame
    size = WIDTH, max(1, round(height * WIDTH / width))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _load(context: LoadContext) -> Any:
    from avbench.encoders.networks.mtcnn.network import load

    return load(context)


def _run(cascade: Any, clips: Sequence[ClipInput]) -> list[Faces]:
    return [_faces(cascade, clip) for clip in clips]


def _faces(cascade: Any, clip: ClipInput) -> Faces:
    """Number of the frame among those looked at, box in pixels of the clip and probability of each face, (N, 6)."""
    from avbench.encoders.networks.mtcnn.cascade import find_faces

    frames = clip.views[0]
    assert clip.video is not None
    rows = [np.zeros((0, 6), dtype=np.float32)]
    for number, frame in enumerate(frames):
        faces = find_faces(cascade, frame)
        scale = np.array([clip.video.width / frame.shape[1], clip.video.height / frame.shape[0]] * 2)
        rows.append(np.column_stack([np.full(len(faces), number), faces[:, :4] * scale, faces[:, 4]]))
    return np.concatenate(rows).astype(np.float32)


MTCNN = Backbone(name=ROW, load=_load, row=ROW)

FACES = Encoder("faces", 1, MTCNN, _run, views=(Frames(SAMPLING, transform=shrunk),))
"""Five frames per second -> faces (N, 6): number of the frame, left, top, right, bottom, probability."""
