"""Synchformer's video branch: Motionformer with attention divided over time and space."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from avbench.encoders.networks.synchformer.attention import Summary, attend_by_head

TUBELET = (2, 16, 16)
STEPS = 8
PATCHES = 14 * 14


class DividedAttention(nn.Module):
    """Attention within one axis. The class token attends to everything and is seen by every group."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, axis: Literal["time", "space"]) -> Tensor:
        """Tokens (B, 1 + T * P, D), time-major, to the same shape."""
        batch = len(x)
        qkv = self.qkv(x)  # (B, 1 + T * P, 3 * D)
        query, key, value = qkv.chunk(3, dim=-1)
        summary = attend_by_head(query[:, :1], key, value, self.heads)  # (B, 1, D)
        grid = qkv[:, 1:].unflatten(1, (STEPS, PATCHES))
        if axis == "time":
            grid = grid.transpose(1, 2)
        groups = grid.shape[1]
        query, key, value = grid.flatten(0, 1).chunk(3, dim=-1)  # (B * groups, L, D)
        _, class_key, class_value = qkv[:, :1].repeat_interleave(groups, dim=0).chunk(3, dim=-1)
        key, value = torch.cat([class_key, key], dim=1), torch.cat([class_value, value], dim=1)
        mixed = torch.unflatten(attend_by_head(query, key, value, self.heads), 0, (batch, groups))  # (B, groups, L, D)
        if axis == "time":
            mixed = mixed.transpose(1, 2)
        projected: Tensor = self.proj(torch.cat([summary, mixed.flatten(1, 2)], dim=1))
        return projected


class VideoLayer(nn.Module):
    """Attention over time, then over space, then a perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = DividedAttention(width, heads)
        self.timeattn = DividedAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.norm3 = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, 1 + T * P, D) to the same shape."""
        x = x + self.timeattn(self.norm3(x), "time")
        x = x + self.attn(self.norm1(x), "space")
        changed: Tensor = x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))
        return changed


class VideoTransformer(nn.Module):
    """Motionformer with divided attention; space is summed up per step of two frames."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + PATCHES, width))
        self.temp_embed = nn.Parameter(torch.zeros(1, STEPS, width))
        # Never run: the checkpoint carries the still-image embedding that the tubelet embedding replaced.
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, TUBELET[1:], TUBELET[1:])})
        self.patch_embed_3d = nn.ModuleDict({"proj": nn.Conv3d(3, width, TUBELET, TUBELET)})
        self.blocks = nn.Sequential(*(VideoLayer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.spatial_attn_agg = Summary(width, heads)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, 16, 224, 224) to features (B, 8, D)."""
        grid = self.patch_embed_3d["proj"](frames).flatten(3).permute(0, 2, 3, 1)  # (B, T, P, D)
        grid = grid + self.pos_embed[:, None, 1:] + self.temp_embed[:, :, None]
        token = (self.cls_token + self.pos_embed[:, :1]).expand(len(frames), -1, -1)
        x = self.blocks(torch.cat([token, grid.flatten(1, 2)], dim=1))  # (B, 1 + T * P, D)
        grid = self.norm(x[:, 1:]).unflatten(1, (STEPS, PATCHES))
        described: Tensor = self.spatial_attn_agg(grid.flatten(0, 1)).unflatten(0, (len(frames), STEPS))
        return described
