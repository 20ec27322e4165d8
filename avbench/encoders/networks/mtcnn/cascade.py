"""From an image to faces through the three networks of MTCNN. Imports torch.

Source: timesler/facenet-pytorch, `MTCNN(keep_all=True)` with its default sizes and thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from avbench.encoders.networks.mtcnn.network import Cascade
from avbench.encoders.non_maximum import kept

SMALLEST_FACE = 20
THRESHOLDS = (0.6, 0.7, 0.7)
_SHRINK = 0.709
_CELL, _STRIDE = 12, 2
_WITHIN_SCALE, _OVERLAP = 0.5, 0.7
# Trained weights propose a hundred or so; this bounds the time that an image of nothing but patterns takes.
_MOST_PROPOSALS = 1000

Faces = NDArray[np.float32]


@torch.inference_mode()
def find_faces(cascade: Cascade, frame: NDArray[np.uint8]) -> Faces:
    """Left, top, right, bottom in pixels and probability (N, 5) of the faces in an RGB frame (H, W, 3)."""
    weight = cascade.proposals.conv1.weight
    # Copies: frames of a file are read-only, about which torch warns, and means over areas want rows of one channel.
    image = torch.from_numpy(np.array(frame)).to(weight.device).permute(2, 0, 1)[None].float().contiguous()
    proposed = [_proposed(cascade, image, scale) for scale in _scales(*frame.shape[:2])]
    faces = np.concatenate([np.zeros((0, 9), np.float32), *proposed])
    faces = faces[kept(faces[:, :4], faces[:, 4], _OVERLAP)[:_MOST_PROPOSALS]]
    boxes = np.column_stack([_corrected(faces[:, :4], faces[:, 5:], pixel=0), faces[:, 4]])
    boxes, corrections = _judged(cascade.refinement, image, _squared(boxes), 24, THRESHOLDS[1])
    chosen = kept(boxes[:, :4], boxes[:, 4], _OVERLAP)
    boxes = np.column_stack([_corrected(boxes[chosen, :4], corrections[chosen], pixel=1), boxes[chosen, 4]])
    boxes, corrections = _judged(cascade.outcome, image, _squared(boxes), 48, THRESHOLDS[2])
    boxes[:, :4] = _corrected(boxes[:, :4], corrections, pixel=1)
    return boxes[kept(boxes[:, :4], boxes[:, 4], _OVERLAP, pixel=1.0, of_smaller=True)]


def _scales(height: int, width: int) -> Iterator[float]:
    """Factors at which a face of each size fills a cell of 12 pixels."""
    scale = _CELL / SMALLEST_FACE
    while min(height, width) * scale >= _CELL:
        yield scale
        scale *= _SHRINK


def _resized(images: Tensor, height: int, width: int) -> Tensor:
    """Images of means over areas, in the range of the networks."""
    return (F.interpolate(images, size=(height, width), mode="area") - 127.5) * 0.0078125


def _proposed(cascade: Cascade, image: Tensor, scale: float) -> Faces:
    """Box, probability and corrections (N, 9) of the cells that may hold a face at one scale."""
    height, width = (int(side * scale + 1) for side in image.shape[2:])
    dtype = cascade.proposals.conv1.weight.dtype
    probabilities, corrections = cascade.proposals(_resized(image, height, width).to(dtype))
    rows, columns = torch.nonzero(probabilities[0] >= THRESHOLDS[0], as_tuple=True)
    cells = torch.stack([columns, rows], dim=1).cpu().numpy().astype(np.float32)
    corners = [np.floor((_STRIDE * cells + edge) / np.float32(scale)) for edge in (1, _CELL)]
    values = probabilities[0, rows, columns, None], corrections[0, :, rows, columns].T
    candidates = np.column_stack([*corners, *(value.float().cpu().numpy() for value in values)]).astype(np.float32)
    return candidates[kept(candidates[:, :4], candidates[:, 4], _WITHIN_SCALE)]


def _judged(network: nn.Module, image: Tensor, boxes: Faces, side: int, threshold: float) -> tuple[Faces, Faces]:
    """Boxes with their new probability (N, 5), and corrections (N, 4), of those above a threshold."""
    height, width = image.shape[2:]
    edges = np.trunc(boxes[:, :4]).astype(np.int64)
    left, top = np.maximum(edges[:, :2], 1).T
    right, bottom = np.minimum(edges[:, 2:], (width, height)).T
    inside = np.flatnonzero((bottom > top - 1) & (right > left - 1))
    crops = [_resized(image[:, :, top[i] - 1 : bottom[i], left[i] - 1 : right[i]], side, side) for i in inside.tolist()]
    if not crops:
        return np.zeros((0, 5), np.float32), np.zeros((0, 4), np.float32)
    probabilities, corrections = network(torch.cat(crops).to(next(network.parameters()).dtype))
    scores, moves = probabilities.float().cpu().numpy(), corrections.float().cpu().numpy()
    sure = scores > threshold
    return np.column_stack([boxes[inside[sure], :4], scores[sure]]).astype(np.float32), moves[sure]


def _corrected(boxes: Faces, corrections: Faces, *, pixel: int) -> Faces:
    """Boxes (N, 4) moved by corrections (N, 4) in units of their sides."""
    sides = boxes[:, 2:] - boxes[:, :2] + pixel
    return np.asarray(boxes + np.tile(sides, 2) * corrections)


def _squared(boxes: Faces) -> Faces:
    """Boxes (N, 5) made square about their centres."""
    sides = boxes[:, 2:4] - boxes[:, :2]
    longer = sides.max(axis=1, initial=0, keepdims=True)
    corner = boxes[:, :2] + sides * 0.5 - longer * 0.5
    return np.column_stack([corner, corner + longer, boxes[:, 4]])
