"""UMT's vision transformer over the patches of all frames, with a classifier. Imports torch.

Entries are named as in the published checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.encoders.attention import attend

FRAMES = 16
SIDE = 224
CLASSES = 400
# The table of positions is that of the network's first training, with 8 frames.
_TABLE_FRAMES = 8
_EPS = 1e-6


@dataclass(frozen=True)
class Size:
    """Depth, width, heads, and side of a patch in pixels."""

    depth: int = 24
    width: int = 1024
    heads: int = 16
    patch: int = 16


REDUCED = Size(depth=2, width=32, heads=2, patch=56)


class Umt(nn.Module):
    """Frames to logits of 400 actions."""

    def __init__(self, size: Size = Size()) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(positions(SIDE // size.patch, size.width))
        stride = (1, size.patch, size.patch)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, size.width, stride, stride)})
        self.blocks = nn.ModuleList(Block(size.width, size.heads) for _ in range(size.depth))
        self.fc_norm = nn.LayerNorm(size.width, eps=_EPS)
        self.head = nn.Linear(size.width, CLASSES)

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised frames (B, 16, 3, 224, 224) to logits (B, 400)."""
        patches = self.patch_embed["proj"](frames.transpose(1, 2)).flatten(2).transpose(1, 2)
        tokens = patches + self.pos_embed  # (B, 16 * P, W), frame by frame
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.head(self.fc_norm(tokens.mean(dim=1)))
        return logits


class Block(nn.Module):
    """Attention, then a perceptron, each on normalised tokens and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, W) to the same shape."""
        tokens = tokens + self.attn(self.norm1(tokens))
        hidden: Tensor = self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(tokens))))
        return tokens + hidden


class Attention(nn.Module):
    """Attention of all tokens to all, with a bias for queries and values but none for keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, W) to the same shape."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        joint = torch.unflatten(F.linear(tokens, self.qkv.weight, bias), -1, (3, self.heads, -1))
        query, key, value = joint.permute(2, 0, 3, 1, 4)  # (B, heads, L, W / heads)
        mixed: Tensor = self.proj(attend(query, key, value).transpose(1, 2).flatten(2))
        return mixed


def positions(grid: int, width: int) -> Tensor:
    """Table (1, 16 * grid * grid, W): sines and cosines of 8 frames, stretched over time to 16.

    Source: OpenGVLab/unmasked_teacher, fine-tuning from a checkpoint of fewer frames.
    """
    count = _TABLE_FRAMES * grid * grid
    exponents = torch.arange(width, dtype=torch.float64) // 2 * 2 / width
    angles = torch.arange(count, dtype=torch.float64)[:, None] / 10_000**exponents  # (8 * grid * grid, W)
    even = torch.arange(width) % 2 == 0
    table = torch.where(even, angles.sin(), angles.cos()).float()
    over_time = torch.unflatten(table, 0, (_TABLE_FRAMES, -1)).permute(1, 2, 0)  # (grid * grid, W, 8)
    stretched = F.interpolate(over_time, FRAMES, mode="linear", align_corners=False)
    return stretched.permute(2, 0, 1).flatten(0, 1)[None]
