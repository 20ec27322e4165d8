"""DINO's vision transformer with the keys of `dino_vitbase16_pretrain.pth`. Imports torch.

Source: Caron et al. 2021 (arXiv 2104.14294); facebookresearch/dino, vision_transformer.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.encoders.attention import attend

PATCH = 16
GRID = 14  # patches along a side of the square images that it was trained on


@dataclass(frozen=True)
class Shape:
    """Sizes of a network."""

    width: int
    layers: int
    heads: int


VIT_B16 = Shape(768, 12, 12)
REDUCED = Shape(32, 2, 2)


class VisionTransformer(nn.Module):
    """Images of any size to the class token after the last norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + GRID**2, shape.width))
        self.patch_embed = Patches(shape.width)
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width, eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, 3, H, W)."""
        patches = self.patch_embed(images)  # (B, L, D)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        tokens = tokens + self.positions(*images.shape[-2:]).to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        features: Tensor = self.norm(tokens[:, 0])
        return features

    def positions(self, height: int, width: int) -> Tensor:
        """The table of positions (1, 1 + L, D) for images of this size in pixels.

        The reference resizes it by factors to which 0.1 patch was added against rounding. torch takes the factors for
        the sampling grid as well, so the table of 14 x 14 patches moves, too, unless the image is square.
        """
        rows, columns = height // PATCH, width // PATCH
        if height == width and rows * columns == GRID**2:
            return self.pos_embed
        table = self.pos_embed[:, 1:].float().transpose(1, 2).reshape(1, -1, GRID, GRID)  # (1, D, 14, 14)
        factors = ((rows + 0.1) / GRID, (columns + 0.1) / GRID)
        resized = F.interpolate(table, scale_factor=factors, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1].float(), resized.flatten(2).transpose(1, 2)], dim=1)


class Patches(nn.Module):
    """A linear map of each patch of 16 x 16 pixels; what is left at the right and at the bottom is not seen."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, L, D), in rows."""
        patches: Tensor = self.proj(images)
        return patches.flatten(2).transpose(1, 2)


class Block(nn.Module):
    """Attention and two linear layers, each after a norm and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        result: Tensor = tokens + self.mlp(self.norm2(tokens))
        return result


class Attention(nn.Module):
    """Self-attention with one layer for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        result: Tensor = self.proj(attend(query, key, value).transpose(1, 2).flatten(2))
        return result


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        result: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return result
