"""Swin-B over an image of 384 x 384, built of timm's blocks under the names of the published checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

SIDE = 384
_WINDOW = 12


class Swin(nn.Module):
    """Images to tokens: the mean token, then one for each patch."""

    def __init__(self, width: int, depths: Sequence[int], heads: Sequence[int], patch: int) -> None:
        super().__init__()
        parts = SwinTransformer(
            SIDE,
            patch,
            num_classes=0,
            window_size=_WINDOW,
            embed_dim=width,
            depths=tuple(depths),
            num_heads=tuple(heads),
        )
        stages: list[Any] = list(parts.layers)
        halvings = [stage.downsample for stage in stages[1:]]
        self.patch_embed = parts.patch_embed
        self.layers = nn.Sequential(*map(Stage, [stage.blocks for stage in stages], [*halvings, None]))
        self.norm = parts.norm

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, 384, 384) to tokens (B, 1 + P, W)."""
        tokens = self.norm(self.layers(self.patch_embed(images))).flatten(1, 2)
        return torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)


class Stage(nn.Module):
    """Blocks, then a halving of the image but for the last stage; timm halves at the start of the next stage."""

    def __init__(self, blocks: nn.Module, halving: nn.Module | None) -> None:
        super().__init__()
        self.blocks = blocks
        self.downsample = halving

    def forward(self, grid: Tensor) -> Tensor:
        """(B, H, W, D) to (B, H / 2, W / 2, 2 D), or of the last stage to the same shape."""
        mixed: Tensor = self.blocks(grid)
        return mixed if self.downsample is None else self.downsample(mixed)
