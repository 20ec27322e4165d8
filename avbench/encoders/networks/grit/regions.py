"""From proposals to the boxes of objects: three box heads, each refining the boxes of the one before. Imports torch.

Source: Cai and Vasconcelos, "Cascade R-CNN", arXiv 1712.00726.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image, nms, roi_align

from avbench.encoders.networks.grit.proposals import STRIDES

Size = tuple[int, int]
"""Height and width of a frame."""

# How much of a box's side a step of one means: for the centre, and for the logarithm of the side.
_STEPS = ((10.0, 5.0), (20.0, 10.0), (30.0, 15.0))
_LARGEST_GROWTH = math.log(1000 / 16)
_SIDE = 7
_LEAST_SCORE = 0.5
_OVERLAP = 0.5
_OBJECTS = 256
# A box of this side in pixels is read from the map of stride 16.
_USUAL_SIDE = 224


def pool(maps: Sequence[Tensor], boxes: Tensor, side: int) -> Tensor:
    """Features of regions, each from the map that suits its size.

    Args:
        maps: of strides 8, 16 and 32, (1, C, H, W).
        boxes: (N, 4) in pixels.
        side: points along a side of a region.

    Returns:
        (N, C, side, side) in the maps' precision.
    """
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    levels = (4 + torch.log2(sides / _USUAL_SIDE + 1e-8)).floor().clamp(3, 5) - 3
    pooled = maps[0].new_zeros(len(boxes), maps[0].shape[1], side, side)
    for level, features in enumerate(maps):
        chosen = torch.nonzero(levels == level)[:, 0]
        # In float32, because torchvision has no kernel for bfloat16 on every device.
        part = roi_align(features.float(), [boxes[chosen]], side, 1 / STRIDES[level], aligned=True)
        pooled[chosen] = part.to(pooled.dtype)
    return pooled


def moved(boxes: Tensor, deltas: Tensor, steps: tuple[float, float]) -> Tensor:
    """Boxes (N, 4) after a step (N, 4): two numbers shift the centre, two scale the sides."""
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = boxes[:, :2] + 0.5 * sides + deltas[:, :2] / steps[0] * sides
    sides = (deltas[:, 2:] / steps[1]).clamp(max=_LARGEST_GROWTH).exp() * sides
    return torch.cat([centres - 0.5 * sides, centres + 0.5 * sides], dim=1)


class BoxHead(nn.Module):
    """Two layers over the features of a region."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels * _SIDE**2, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))


class BoxPredictor(nn.Module):
    """Whether a region holds an object, and where its box should move."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(width, 2)
        self.bbox_pred = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) -> probability of an object (N,), step of the box (N, 4)."""
        return self.cls_score(x).float().softmax(dim=1)[:, 0], self.bbox_pred(x).float()


class RegionHeads(nn.Module):
    """The cascade, and the decoder of texts beside it.

    Published checkpoints hold a mask head as well, which nothing here reads.
    """

    def __init__(self, channels: int, width: int, text_decoder: nn.Module) -> None:
        super().__init__()
        self.box_head = nn.ModuleList(BoxHead(channels, width) for _ in _STEPS)
        self.box_predictor = nn.ModuleList(BoxPredictor(width) for _ in _STEPS)
        self.text_decoder = text_decoder

    def refine(self, maps: Sequence[Tensor], boxes: Tensor, scores: Tensor, size: Size) -> tuple[Tensor, Tensor]:
        """The three heads over all proposals.

        Args:
            maps: of strides 8, 16 and 32, (1, C, H, W).
            boxes, scores: proposals (N, 4) and (N,).
            size: of the frame without padding.

        Returns:
            Boxes (N, 4) within the frame, and scores (N,): the square root of the mean probability of an object times
            the score of the proposal.
        """
        total = torch.zeros_like(scores)
        for head, predictor, steps in zip(self.box_head, self.box_predictor, _STEPS, strict=True):
            probability, deltas = predictor(head(pool(maps, boxes, _SIDE)))
            boxes = clip_boxes_to_image(moved(boxes, deltas, steps), size)
            total += probability
        return boxes, (total / len(_STEPS) * scores).sqrt()


def objects(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The boxes (n, 4) that are sure and overlap no surer one by half, and their scores (n,), best first."""
    sure = torch.isfinite(boxes).all(dim=1) & (scores > _LEAST_SCORE)
    boxes, scores = boxes[sure], scores[sure]
    kept = nms(boxes, scores, _OVERLAP)[:_OBJECTS]
    return boxes[kept], scores[kept]
