"""Correlation of two feature maps in a window around where a flow points, at several scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Correlations held at once, in numbers: all of them where they fit, else as many rows as do, computed anew for each
# lookup. So memory does not grow with the fourth power of the side. Processors are fastest with what their caches hold
# and the allocator reuses, GPUs with few launches.
BLOCK = {"cpu": 2**22, "cuda": 2**26}


class WindowCorrelation:
    """Correlations of each position of one feature map with windows of another.

    Args:
        queries, targets: (B, C, h, w).
        levels: scales; each next one halves the targets.
        radius: windows have 2 radius + 1 rows and columns.
    """

    def __init__(self, queries: Tensor, targets: Tensor, *, levels: int, radius: int) -> None:
        batch, channels, height, width = queries.shape
        self._targets = [targets / channels**0.5]
        for _ in range(levels - 1):
            self._targets.append(F.avg_pool2d(self._targets[-1], 2, stride=2))
        self._rows = max(1, BLOCK.get(queries.device.type, 2**26) // (batch * height * width**2))
        self._queries = torch.split(queries, self._rows, dim=2)
        # The first index of a window moves x, the second y: trained weights expect them in this order, as RAFT's do.
        steps = torch.arange(-radius, radius + 1, device=queries.device, dtype=queries.dtype)
        self._window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)  # (k, k, 2)
        # Each block takes the place of the one before: anew for each, a large frame would make gigabytes of gaps.
        held = batch * min(self._rows, height) * width
        self._space = [queries.new_empty(held * targets[0, 0].numel()) for targets in self._targets]
        self._kept = self._correlations(queries) if len(self._queries) == 1 else None

    def at(self, centres: Tensor) -> Tensor:
        """Correlations (B, levels k^2, h, w) around `centres` (B, 2, h, w): x and y in pixels of the targets."""
        blocks = zip(self._queries, torch.split(centres, self._rows, dim=2), strict=True)
        return torch.cat([self._sampled(self._kept or self._correlations(rows), at) for rows, at in blocks], dim=2)

    def _correlations(self, queries: Tensor) -> list[Tensor]:
        """(B * rows * w, 1, h', w') at each scale; the mean of correlations is the correlation with the mean."""
        flat = queries.flatten(2).transpose(1, 2)
        batch, count = flat.shape[:2]
        levels = []
        for targets, space in zip(self._targets, self._space, strict=True):
            block = space[: batch * count * targets[0, 0].numel()].view(batch, count, -1)
            torch.matmul(flat, targets.flatten(2), out=block)
            levels.append(block.view(-1, 1, *targets.shape[-2:]))
        return levels

    def _sampled(self, correlations: Sequence[Tensor], centres: Tensor) -> Tensor:
        batch, _, rows, width = centres.shape
        at = centres.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
        values = [
            sample(level, at / 2**scale + self._window, padding="zeros").view(batch, rows, width, -1)
            for scale, level in enumerate(correlations)
        ]
        return torch.cat(values, dim=-1).permute(0, 3, 1, 2)


def sample(images: Tensor, at: Tensor, padding: str) -> Tensor:
    """Values of `images` (B, C, h, w) at positions (B, H, W, 2), x and y in pixels, bilinear: (B, C, H, W)."""
    height, width = images.shape[-2:]
    last = torch.tensor([width - 1, height - 1], device=at.device, dtype=at.dtype)
    return F.grid_sample(images, 2 * at / last - 1, mode="bilinear", padding_mode=padding, align_corners=True)
