"""Regions of a frame that may hold an object, from CenterNet's heat map. Imports torch.

Source: Zhou et al., "Probabilistic two-stage detection", arXiv 2103.07461.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import nms

STRIDES = (8, 16, 32, 64, 128)
_GROUPS = 32
_CONVOLUTIONS = 4
_LEAST_HEAT = 1e-4
_PER_LEVEL = 1000
_OVERLAP = 0.9
_REGIONS = 256
_LEAST_SIDE = 0.01  # pixels; boxes without area have no place in what follows


class Scale(nn.Module):
    """A learned factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class CenterNetHead(nn.Module):
    """For each point of a map, how likely it is the centre of an object, and the distances to the object's sides."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(_CONVOLUTIONS):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(_GROUPS, channels), nn.ReLU()]
        self.bbox_tower = nn.Sequential(*layers)
        self.bbox_pred = nn.Conv2d(channels, 4, 3, padding=1)
        self.agn_hm = nn.Conv2d(channels, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in STRIDES)

    def forward(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Map (1, C, H, W) -> heat (H W,) and distances (H W, 4) to left, top, right and bottom in pixels."""
        x = self.bbox_tower(x)
        heat = self.agn_hm(x).float().sigmoid().flatten()
        distances = F.relu(self.scales[level](self.bbox_pred(x))).float() * STRIDES[level]
        return heat, distances[0].flatten(1).T


class Proposals(nn.Module):
    """The head, and its answer as boxes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.centernet_head = CenterNetHead(channels)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) and scores (N,), best first.

        Args:
            maps: five maps (1, C, H, W) of one frame, finest first.

        Returns:
            Left, top, right, bottom in pixels, not clipped to the frame; and the square root of the heat. N is 256 or
            less, more only where scores are equal.
        """
        boxes, heats = zip(*(self._candidates(x, level) for level, x in enumerate(maps)), strict=True)
        box, score = torch.cat(boxes), torch.cat(heats).sqrt()
        kept = nms(box, score, _OVERLAP)
        box, score = box[kept], score[kept]
        if len(score) > _REGIONS:
            sure = score >= score[_REGIONS - 1]
            box, score = box[sure], score[sure]
        return box, score

    def _candidates(self, x: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Boxes (n, 4) around the warmest points of a map, and their heat (n,)."""
        heat, distances = self.centernet_head(x, level)
        points = _points(x, STRIDES[level])
        chosen = torch.nonzero(heat > _LEAST_HEAT)[:, 0]
        if len(chosen) > _PER_LEVEL:
            chosen = chosen[heat[chosen].topk(_PER_LEVEL).indices]
        start = points[chosen] - distances[chosen, :2]
        end = torch.maximum(points[chosen] + distances[chosen, 2:], start + _LEAST_SIDE)
        return torch.cat([start, end], dim=1), heat[chosen]


def _points(x: Tensor, stride: int) -> Tensor:
    """Pixel (x, y) that each point of a map (1, C, H, W) stands for: (H W, 2)."""
    height, width = x.shape[2:]
    y, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    grid = torch.stack([across.flatten(), y.flatten()], dim=1) * stride + stride // 2
    return grid.to(x.device, torch.float32)
