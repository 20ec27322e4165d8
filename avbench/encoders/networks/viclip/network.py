"""ViCLIP as a network: CLIP's two towers, of which the one for images looks at all frames at once.

Entries are named as in the published checkpoint. Imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from open_clip.transformer import Transformer

FRAMES = 8
SIDE = 224
TOKENS = 32
VOCABULARY = 49_408


@dataclass(frozen=True)
class Size:
    """Depth, width and heads of the two towers, and the dimensions of the space that they share."""

    video: tuple[int, int, int] = (24, 1024, 16)
    text: tuple[int, int, int] = (12, 768, 12)
    space: int = 768
    patch: int = 14


REDUCED = Size(video=(2, 32, 2), text=(2, 32, 2), space=16, patch=56)


class ViClip(nn.Module):
    """Video tower, text tower, and the temperature of training, which no score uses."""

    def __init__(self, size: Size = Size()) -> None:
        super().__init__()
        self.temp = nn.Parameter(torch.zeros(()))
        self.vision_encoder = VideoTower(size)
        self.text_encoder = text_tower(size)


class VideoTower(nn.Module):
    """A vision transformer over the patches of all frames together, each patch with a position in space and time."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        depth, width, heads = size.video
        patches = (SIDE // size.patch) ** 2
        stride = (1, size.patch, size.patch)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + patches, width))
        self.temporal_positional_embedding = nn.Parameter(torch.zeros(1, FRAMES, width))
        self.proj = nn.Parameter(torch.zeros(width, size.space))
        self.conv1 = nn.Conv3d(3, width, stride, stride, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = _blocks(width, depth, heads)
        self.ln_post = nn.LayerNorm(width)

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised frames (B, 8, 3, 224, 224) to features (B, D)."""
        patches = self.conv1(frames.transpose(1, 2)).flatten(3)  # (B, W, 8, P)
        patches = patches.permute(0, 3, 2, 1) + self.positional_embedding[1:, None]  # (B, P, 8, W)
        patches = (patches + self.temporal_positional_embedding).flatten(1, 2)  # for each patch all times
        first = (self.class_embedding + self.positional_embedding[0]).expand(len(frames), 1, -1)
        tokens = self.transformer(self.ln_pre(torch.cat([first, patches], dim=1)))  # (B, 1 + 8 P, W)
        features: Tensor = self.ln_post(tokens[:, 0]) @ self.proj
        return features


def _blocks(width: int, depth: int, heads: int) -> Transformer:
    from open_clip.transformer import QuickGELU, Transformer

    return Transformer(width, depth, heads, act_layer=QuickGELU)


def text_tower(size: Size) -> Any:
    """CLIP's causal text transformer with texts of 32 tokens: ids (B, 32) to features (B, D) at the end token."""
    from open_clip.transformer import QuickGELU, TextTransformer

    depth, width, heads = size.text
    return TextTransformer(
        TOKENS, VOCABULARY, width, heads=heads, layers=depth, output_dim=size.space, act_layer=QuickGELU
    )
