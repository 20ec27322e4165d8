"""MUSIQ, a transformer over patches of an image at three sizes, with the keys of `musiq_spaq_ckpt`. Imports torch.

Source: Ke et al. 2021 (arXiv 2108.05997); convolutions in front of it as in Kolesnikov et al. 2020 (arXiv 1912.11370).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.encoders.attention import attend
from avbench.encoders.networks.musiq.sizes import copy_sizes

PATCH = 32
GRID = 10  # entries along a side of the table of positions
SCALES = 3
_CELLS = 8  # of a patch along a side, once the convolutions have shrunk it


@dataclass(frozen=True)
class Shape:
    """Sizes of a network."""

    channels: int
    width: int
    hidden: int
    layers: int
    heads: int


MUSIQ = Shape(64, 384, 1152, 14, 6)
REDUCED = Shape(32, 24, 48, 2, 2)


class Musiq(nn.Module):
    """Images to ratings of their technical quality."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv_root = StandardisedConv(3, shape.channels, 7, stride=2)
        self.gn_root = nn.GroupNorm(32, shape.channels, eps=1e-6)
        self.block1 = Bottleneck(shape.channels)
        self.embedding = nn.Linear(4 * shape.channels * _CELLS**2, shape.width)
        self.transformer_encoder = Encoder(shape)
        self.head = nn.Linear(shape.width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Ratings (B, 1), about 0 to 100, of images (B, 3, H, W) in 0 to 1, float32 whatever the weights are."""
        rating: Tensor = self.head(self.transformer_encoder(*self.tokens(images)))
        return rating

    def tokens(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embedded patches (B, L, D) of two copies and of the image itself, their positions (L,) and scales (L,).

        The reference fills the copies up to 49 and 144 patches and masks what it filled. No other token sees a masked
        one, so they are left out here.
        """
        values = (images - 0.5) * 2
        copies = [F.interpolate(values, size, mode="bicubic") for size in copy_sizes(*images.shape[-2:])]
        patches, positions, scales = [], [], []
        for scale, image in enumerate([*copies, values]):
            padded = _pad_same(image, PATCH, PATCH)
            rows, columns = (side // PATCH for side in padded.shape[-2:])
            patches.append(F.unfold(padded, PATCH, stride=PATCH).transpose(1, 2))  # (B, rows * columns, 3 * 32 * 32)
            positions.append(_positions(rows, columns))
            scales.append(torch.full((rows * columns,), scale))
        embedded = self.embed(torch.cat(patches, dim=1))
        return embedded, torch.cat(positions).to(images.device), torch.cat(scales).to(images.device)

    def embed(self, patches: Tensor) -> Tensor:
        """Patches (B, L, 3 * 32 * 32) -> (B, L, D)."""
        images = patches.reshape(-1, 3, PATCH, PATCH).to(self.embedding.weight.dtype)
        hidden = self.conv_root(images)  # (B * L, C, 16, 16)
        hidden = F.max_pool2d(_pad_same(F.relu(self.gn_root(hidden)), 3, 2), 3, 2)
        hidden = self.block1(hidden).permute(0, 2, 3, 1).flatten(1)  # (B * L, 8 * 8 * 4 C)
        embedded: Tensor = self.embedding(hidden)
        return embedded.reshape(*patches.shape[:2], -1)


def _positions(rows: int, columns: int) -> Tensor:
    """Entries of the table of positions, which is stretched to the patches of an image: (rows * columns,)."""
    down, across = torch.arange(rows) * GRID // rows, torch.arange(columns) * GRID // columns
    return (GRID * down[:, None] + across).flatten()


def _pad_same(values: Tensor, kernel: int, stride: int) -> Tensor:
    """Zeros as TensorFlow's "same" adds them, an odd one to the right and to the bottom."""
    borders: list[int] = []
    for side in reversed(values.shape[-2:]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        borders += [total // 2, total - total // 2]
    return F.pad(values, borders)


class StandardisedConv(nn.Conv2d):
    """A convolution without bias whose kernels have mean 0 and standard deviation 1, and "same" padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H / stride, W / stride)."""
        std, mean = torch.std_mean(self.weight.float(), dim=(1, 2, 3), keepdim=True)
        kernels = ((self.weight.float() - mean) / (std + 1e-5)).to(input.dtype)
        return F.conv2d(_pad_same(input, self.kernel_size[0], self.stride[0]), kernels, stride=self.stride)


class Bottleneck(nn.Module):
    """Three convolutions with group norms, added to a projection of their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = StandardisedConv(channels, channels, 1)
        self.gn1 = nn.GroupNorm(32, channels, eps=1e-4)
        self.conv2 = StandardisedConv(channels, channels, 3)
        self.gn2 = nn.GroupNorm(32, channels, eps=1e-4)
        self.conv3 = StandardisedConv(channels, 4 * channels, 1)
        self.gn3 = nn.GroupNorm(32, 4 * channels, eps=1e-4)
        self.conv_proj = StandardisedConv(channels, 4 * channels, 1)
        self.gn_proj = nn.GroupNorm(32, 4 * channels, eps=1e-4)

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 C, H, W)."""
        hidden = F.relu(self.gn1(self.conv1(values)))
        hidden = F.relu(self.gn2(self.conv2(hidden)))
        return F.relu(self.gn3(self.conv3(hidden)) + self.gn_proj(self.conv_proj(values)))


class Encoder(nn.Module):
    """The transformer: tokens, and what tells where they are from, to the class token."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.posembed_input = nn.ParameterDict({"position_emb": torch.zeros(1, GRID**2, shape.width)})
        self.scaleembed_input = nn.ParameterDict({"scale_emb": torch.zeros(SCALES, shape.width)})
        self.transformer = nn.ModuleDict({f"encoderblock_{i}": Block(shape) for i in range(shape.layers)})
        self.encoder_norm = nn.LayerNorm(shape.width, eps=1e-6)

    def forward(self, tokens: Tensor, positions: Tensor, scales: Tensor) -> Tensor:
        """Tokens (B, L, D), positions (L,) and scales (L,) -> (B, D)."""
        where = self.posembed_input["position_emb"][0, positions] + self.scaleembed_input["scale_emb"][scales]
        hidden = torch.cat([self.cls.expand(len(tokens), -1, -1), tokens + where], dim=1)
        for block in self.transformer.values():
            hidden = block(hidden)
        result: Tensor = self.encoder_norm(hidden[:, 0])
        return result


class Block(nn.Module):
    """Attention and two linear layers, each after a norm and added to its input."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=1e-6)
        self.attention = Attention(shape.width, shape.heads)
        self.norm2 = nn.LayerNorm(shape.width, eps=1e-6)
        self.mlp = Mlp(shape.width, shape.hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        tokens = tokens + self.attention(self.norm1(tokens))
        result: Tensor = tokens + self.mlp(self.norm2(tokens))
        return result


class Attention(nn.Module):
    """Self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        batch, length, width = tokens.shape
        query, key, value = (
            layer(tokens).reshape(batch, length, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        result: Tensor = self.out(attend(query, key, value).transpose(1, 2).reshape(batch, length, width))
        return result


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        result: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return result
