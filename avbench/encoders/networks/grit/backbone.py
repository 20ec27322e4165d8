"""The image part of GRiT: a ViTDet backbone and five feature maps of it. Imports torch.

Source: Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", arXiv 2203.16527; Wu et al.,
"GRiT: A Generative Region-to-text Transformer for Object Understanding", arXiv 2212.00280.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 16
_WINDOW = 14  # patches along a side of the windows of most blocks
_GLOBAL = 64  # patches along a side in training, for the blocks that see the whole frame
_TABLE = 14  # patches along a side of the table of absolute positions
# Numbers of a table of relative positions between all patches that are held at a time, 256 MB in float32.
_PAIRS_AT_ONCE = 2**26


class Attention(nn.Module):
    """Self-attention over a grid, with a learned term for the distance in rows and one for that in columns."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, D) -> (B, H, W, D)."""
        batch, height, width, _ = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        rows, columns = _distances(self.rel_pos_h, height), _distances(self.rel_pos_w, width)
        heads_at_once = max(1, _PAIRS_AT_ONCE // (batch * (height * width) ** 2))
        parts = []
        for query, key, value in zip(*(part.split(heads_at_once, dim=1) for part in qkv), strict=True):
            grid = query.reshape(*query.shape[:2], height, width, -1)
            by_row = torch.einsum("bnhwd,hkd->bnhwk", grid, rows)
            by_column = torch.einsum("bnhwd,wkd->bnhwk", grid, columns)
            bias = (by_row[..., None] + by_column[..., None, :]).flatten(4).flatten(2, 3)  # (B, heads, HW, HW)
            parts.append(F.scaled_dot_product_attention(query, key, value, attn_mask=bias))
        seen = torch.cat(parts, dim=1).transpose(1, 2).reshape(x.shape)
        out: Tensor = self.proj(seen)
        return out


def _distances(table: Tensor, side: int) -> Tensor:
    """Entries (side, side, d) of a table of distances for each query and key, resized where the side is another."""
    if len(table) != 2 * side - 1:
        table = F.interpolate(table.T[None], size=2 * side - 1, mode="linear")[0].T
    steps = torch.arange(side, device=table.device)
    return table[steps[:, None] - steps + side - 1]


class Mlp(nn.Module):
    """Two layers with GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Transformer block over a grid; `window` is 0 where it sees the whole frame."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, window or _GLOBAL)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + (self._windowed(self.norm1(x)) if self.window else self.attn(self.norm1(x)))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def _windowed(self, x: Tensor) -> Tensor:
        """Attention within windows; those at the right and bottom are filled with zeros, which take part."""
        side = self.window
        batch, height, width, channels = x.shape
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        x = x.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
        x = self.attn(x.reshape(-1, side, side, channels))
        x = x.reshape(batch, rows, columns, side, side, channels).transpose(2, 3)
        return x.reshape(batch, rows * side, columns * side, channels)[:, :height, :width]


class PatchEmbedding(nn.Module):
    """Linear layer over patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 16 H, 16 W) -> (B, H, W, D)."""
        patches: Tensor = self.proj(x)
        return patches.permute(0, 2, 3, 1)


class VitDet(nn.Module):
    """Plain vision transformer for frames of any size; every third block sees the whole frame."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + _TABLE**2, width))  # the first is of an unused class token
        windows = [0 if index % 3 == 2 else _WINDOW for index in range(layers)]
        self.blocks = nn.ModuleList(Block(width, heads, window) for window in windows)

    def forward(self, x: Tensor) -> Tensor:
        """Pixels (B, 3, 16 H, 16 W), normalised -> map (B, D, H, W)."""
        x = self.patch_embed(x)
        table = self.pos_embed[:, 1:].reshape(1, _TABLE, _TABLE, -1).permute(0, 3, 1, 2)
        if x.shape[1:3] != table.shape[2:]:
            table = F.interpolate(table, size=x.shape[1:3], mode="bicubic", align_corners=False)
        x = x + table.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        return x.permute(0, 3, 1, 2)


class TopBlock(nn.Module):
    """The two coarsest maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(channels, channels, 3, 2, 1)
        self.p7 = nn.Conv2d(channels, channels, 3, 2, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        coarse = self.p6(x)
        return [coarse, self.p7(F.relu(coarse))]


class Pyramid(nn.Module):
    """Feature maps of strides 8, 16, 32, 64 and 128 from the one map of the transformer."""

    def __init__(self, width: int, layers: int, heads: int, channels: int) -> None:
        super().__init__()
        self.bottom_up = VitDet(width, layers, heads)
        self.fpn_stride_16_8 = nn.ConvTranspose2d(width, width, 2, 2, bias=False)
        for stride in (8, 16, 32):
            self.add_module(f"fpn_stride{stride}_conv1", nn.Conv2d(width, channels, 1, bias=False))
            self.add_module(f"fpn_stride{stride}_norm1", nn.LayerNorm(channels))
            self.add_module(f"fpn_stride{stride}_conv2", nn.Conv2d(channels, channels, 3, padding=1, bias=False))
            self.add_module(f"fpn_stride{stride}_norm2", nn.LayerNorm(channels))
        self.top_block = TopBlock(channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Pixels (B, 3, H, W) -> five maps (B, C, H / stride, W / stride)."""
        x = self.bottom_up(x)
        scaled = {8: self.fpn_stride_16_8(x), 16: x, 32: F.max_pool2d(x, 2)}
        maps = [self._refined(part, stride) for stride, part in scaled.items()]
        return [*maps, *self.top_block(maps[-1])]

    def _refined(self, x: Tensor, stride: int) -> Tensor:
        for step in (1, 2):
            x = self.get_submodule(f"fpn_stride{stride}_conv{step}")(x)
            x = self.get_submodule(f"fpn_stride{stride}_norm{step}")(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x
