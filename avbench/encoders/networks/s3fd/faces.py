"""From S3FD's output to faces: anchors, boxes, thresholds, suppression of doubles. Imports torch.

Source: joonson/syncnet_python, detectors/s3fd; Wav2Lip, LatentSync and MOVA use the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avbench.encoders.batching import batched_frames
from avbench.encoders.networks.s3fd.sizes import SCALE, SMALLEST_FRAME
from avbench.encoders.non_maximum import kept

CONFIDENCE = 0.9

_BATCH_PIXELS = 2**19
_STRIDES = (4, 8, 16, 32, 64, 128)
_ANCHORS = (16, 32, 64, 128, 256, 512)
_CENTRE, _SIZE = 0.1, 0.2  # variances of the offsets
_MEAN_RGB = np.array([123, 117, 104], dtype=np.float32)
_CANDIDATE, _OVERLAP, _MOST_BEFORE, _MOST = 0.05, 0.3, 5000, 750
_LAST_OVERLAP = 0.1

Faces = NDArray[np.float64]


def anchors(height: int, width: int, maps: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Centre x and y, width and height of each anchor as fractions of the image, (A, 4).

    Args:
        height, width: pixels of the network's input.
        maps: rows and columns of each of the six maps.
    """
    parts = []
    for (rows, columns), stride, size in zip(maps, _STRIDES, _ANCHORS, strict=True):
        y, x = np.mgrid[:rows, :columns] + 0.5
        sides = np.broadcast_to([size / width, size / height], (rows * columns, 2))
        parts.append(np.column_stack([x.ravel() * stride / width, y.ravel() * stride / height, sides]))
    return np.concatenate(parts).astype(np.float32)


def decoded(offsets: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Left, top, right and bottom as fractions of the image, of offsets (A, 4) from anchors (A, 4)."""
    centres = anchors[:, :2] + offsets[:, :2] * np.float32(_CENTRE) * anchors[:, 2:]
    sides = anchors[:, 2:] * np.exp(offsets[:, 2:] * np.float32(_SIZE))
    corner = centres - sides / 2
    return np.concatenate([corner, corner + sides], axis=1)


def candidates(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Score and box (N, 5) of what may be a face, by falling score: at most 750, doubles left out.

    Args:
        boxes: (A, 4).
        scores: probability of a face (A,).
    """
    likely = np.flatnonzero(scores > _CANDIDATE)
    likely = likely[np.argsort(-scores[likely], kind="stable")][:_MOST_BEFORE]
    chosen = likely[kept(boxes[likely], scores[likely], _OVERLAP)[:_MOST]]
    return np.concatenate([scores[chosen, None], boxes[chosen]], axis=1)


def faces_among(detections: NDArray[np.floating], height: int, width: int, confidence: float = CONFIDENCE) -> Faces:
    """Left, top, right, bottom in pixels and score (N, 5) of candidates (M, 5) above a confidence.

    Args:
        detections: score and box as fractions; rows of zeros are none.
        height, width: pixels of the frame.
        confidence: lowest score, itself excluded.
    """
    sure = detections[detections[:, 0] > confidence]
    pixels = sure[:, 1:] * np.array([width, height, width, height], dtype=sure.dtype)
    faces = np.column_stack([pixels, sure[:, 0]]).astype(np.float64)
    return faces[kept(faces[:, :4], faces[:, 4], _LAST_OVERLAP)]


def find_faces(network: nn.Module, frames: NDArray[np.uint8]) -> list[Faces]:
    """Faces (N, 5) in each RGB frame (T, H, W, 3); none where a side is below 110 pixels."""
    height, width = frames.shape[1:3]
    if len(frames) == 0 or min(height, width) < SMALLEST_FRAME:
        return [np.zeros((0, 5)) for _ in frames]
    size = max(1, int(_BATCH_PIXELS // (height * width * SCALE**2)))
    detections = batched_frames(lambda items: _candidates(network, items), frames, size, "S3FD")
    return [faces_among(rows, height, width) for rows in detections]


def network_input(frames: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Frames (H, W, 3) scaled to a quarter, less the mean colour: (B, 3, h, w)."""
    images = np.stack([_scaled(frame) for frame in frames]).astype(np.float32)
    return torch.from_numpy(images - _MEAN_RGB).permute(0, 3, 1, 2)


def _scaled(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(frame, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _candidates(network: nn.Module, frames: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Candidates of each frame, filled up with zeros, (B, 750, 5)."""
    images = network_input(frames)
    offsets, logits, maps = network(images.to(next(network.parameters())))
    scores = logits.float().softmax(dim=-1)[..., 1].cpu().numpy()
    height, width = images.shape[2:]
    priors = anchors(height, width, maps)
    rows = torch.zeros(len(frames), _MOST, 5)
    for row, offset, score in zip(rows, offsets.float().cpu().numpy(), scores, strict=True):
        detections = candidates(decoded(offset, priors), score)
        row[: len(detections)] = torch.from_numpy(detections)
    return rows
