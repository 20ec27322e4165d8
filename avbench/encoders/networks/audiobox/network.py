"""The network of Audiobox Aesthetics, with the entry names of its published checkpoint. Imports torch.

Source: WavLM (Chen et al., arXiv 2110.13900); Audiobox Aesthetics (Tjandra et al., arXiv 2502.05139).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from avbench.encoders.networks.audiobox.heads import AXES, HeadConfig


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of the encoder; the published code fixes them, its config.json does not hold them.

    Attributes:
        convs: channels, kernel, stride of each convolution.
        layers, width, hidden, heads: the transformer.
        position_kernel, position_groups: the convolution that encodes positions.
        buckets, max_distance: relative positions in frames; distances beyond the maximum share the last bucket.
    """

    convs: tuple[tuple[int, int, int], ...] = ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2)
    layers: int = 12
    width: int = 768
    hidden: int = 3072
    heads: int = 12
    position_kernel: int = 128
    position_groups: int = 16
    buckets: int = 320
    max_distance: int = 800


FULL = EncoderShape()
REDUCED = EncoderShape(
    convs=((16, 10, 5), *((16, 3, 2),) * 4, *((16, 2, 2),) * 2),
    layers=2,
    width=32,
    hidden=64,
    heads=4,
    position_kernel=16,
    position_groups=4,
    buckets=32,
    max_distance=80,
)


class AestheticsNetwork(nn.Module):
    """Windows of sound (B, N) at 16 kHz with `lengths` (B,) valid samples -> ratings float32 (B, 4)."""

    def __init__(self, shape: EncoderShape, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.wavlm_model = WavLM(shape)
        self.proj_layer = nn.ModuleDict({axis: _head(shape.width, config) for axis in AXES})
        uniform = 1 / (shape.layers + 1)
        self.layer_weights = nn.ParameterDict(
            {axis: nn.Parameter(torch.full((shape.layers + 1,), uniform)) for axis in AXES}
        )

    def forward(self, sound: Tensor, lengths: Tensor) -> Tensor:
        """Ratings in the order of `AXES`. What lies beyond `lengths` must be zero."""
        pooled = self.wavlm_model(sound, lengths)  # (L, B, D)
        ratings = []
        for axis, (mean, std) in zip(AXES, self.config.targets, strict=True):
            weights = self.layer_weights[axis].float().softmax(dim=0)
            embedding = torch.einsum("lbd,l->bd", pooled, weights)
            if self.config.normalize_embed:
                embedding = functional.normalize(embedding, dim=-1)
            output = self.proj_layer[axis](embedding.to(sound.dtype)).squeeze(-1)
            ratings.append(output.float() * std + mean)
        return torch.stack(ratings, dim=-1)  # (B, 4)


def _head(width: int, config: HeadConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(config.proj_num_layer - 1):
        layers.append(nn.Linear(width, width))
        if config.proj_ln:
            layers.append(nn.LayerNorm(width))
        layers.append(nn.GELU())
        if config.proj_dropout:
            layers.append(nn.Dropout(config.proj_dropout))
    return nn.Sequential(*layers, nn.Linear(width, 1))


class WavLM(nn.Module):
    """Sound (B, N) -> mean over valid frames of the transformer's input and of each layer's output, (L + 1, B, D)."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        channels = shape.convs[-1][0]
        # Stands for masked frames in pre-training: never used, but in the checkpoint.
        self.mask_emb = nn.Parameter(torch.zeros(shape.width))
        self.feature_extractor = nn.ModuleDict({"conv_layers": _convolutions(shape)})
        self.post_extract_proj = nn.Linear(channels, shape.width)
        self.encoder = Transformer(shape)
        self.layer_norm = nn.LayerNorm(channels)

    def forward(self, sound: Tensor, lengths: Tensor) -> Tensor:
        """Frames whose whole hop lies beyond `lengths` are masked in attention and left out of the mean."""
        features = self.feature_extractor["conv_layers"](sound[:, None])  # (B, C, T)
        x = self.post_extract_proj(self.layer_norm(features.transpose(1, 2)))  # (B, T, D)
        hop = sound.shape[1] // x.shape[1]
        padded = torch.arange(x.shape[1], device=x.device) * hop >= lengths[:, None]  # (B, T)
        valid = (~padded).float()[..., None]
        count = valid.sum(dim=1).clamp(min=1)
        return torch.stack([(states.float() * valid).sum(dim=1) / count for states in self.encoder(x, padded)])


def _convolutions(shape: EncoderShape) -> nn.Sequential:
    blocks = nn.Sequential()
    before = 1
    for index, (channels, kernel, stride) in enumerate(shape.convs):
        # The dropout is inactive; it keeps the entry names of the checkpoint (norm at position 2).
        parts: list[nn.Module] = [nn.Conv1d(before, channels, kernel, stride, bias=False), nn.Dropout(0.0)]
        if index == 0:
            parts.append(ChannelNorm(channels, channels))
        blocks.append(nn.Sequential(*parts, nn.GELU()))
        before = channels
    return blocks


class ChannelNorm(nn.GroupNorm):
    """Group norm in float32: its sums over a window of 10 s exceed the range of float16."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, N) over N per channel."""
        normal = functional.group_norm(x.float(), self.num_groups, self.weight.float(), self.bias.float(), self.eps)
        return normal.to(x.dtype)


class Transformer(nn.Module):
    """Frames (B, T, D) -> the states before the first and after each layer."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.pos_conv = nn.Sequential(PositionConvolution(shape), nn.GELU())
        self.layers = nn.ModuleList(Layer(shape, owns_bias=index == 0) for index in range(shape.layers))
        self.layer_norm = nn.LayerNorm(shape.width)
        self.shape = shape

    def forward(self, x: Tensor, padded: Tensor) -> list[Tensor]:
        """`padded` (B, T) is True where a frame is no sound."""
        x = x.masked_fill(padded[..., None], 0.0)
        x = self.layer_norm(x + self.pos_conv(x.transpose(1, 2)).transpose(1, 2))
        bias = self._position_bias(x.shape[1])
        states = [x]
        for layer in self.layers:
            states.append(layer(states[-1], bias, padded))
        return states

    def _position_bias(self, frames: int) -> Tensor:
        """Bias (H, T, T) of a key by its distance to the query, which the first layer owns for all."""
        table = self.get_parameter("layers.0.self_attn.relative_attention_bias.weight")
        # On the CPU, like the reference: a logarithm rounded otherwise could change a bucket.
        distances = position_buckets(torch.arange(1 - frames, frames), self.shape.buckets, self.shape.max_distance)
        positions = torch.arange(frames)
        buckets = distances[positions[None, :] - positions[:, None] + frames - 1]
        return table[buckets.to(table.device)].permute(2, 0, 1)


class PositionConvolution(nn.Module):
    """Grouped convolution over (B, D, T) whose kernel is stored as direction and length per tap."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.groups = shape.position_groups
        self.bias = nn.Parameter(torch.zeros(shape.width))
        self.weight_g = nn.Parameter(torch.ones(1, 1, shape.position_kernel))
        self.weight_v = nn.Parameter(torch.ones(shape.width, shape.width // self.groups, shape.position_kernel))

    def forward(self, x: Tensor) -> Tensor:
        """Same length out as in."""
        direction = self.weight_v.float()
        weight = self.weight_g.float() * direction / direction.norm(dim=(0, 1), keepdim=True)
        padding = weight.shape[-1] // 2
        out = functional.conv1d(x, weight.to(x.dtype), self.bias, padding=padding, groups=self.groups)
        return out[..., : x.shape[-1]]


class Layer(nn.Module):
    """Transformer layer with the norms after the sums."""

    def __init__(self, shape: EncoderShape, *, owns_bias: bool) -> None:
        super().__init__()
        self.self_attn = GatedAttention(shape, owns_bias=owns_bias)
        self.self_attn_layer_norm = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, shape.hidden)
        self.fc2 = nn.Linear(shape.hidden, shape.width)
        self.final_layer_norm = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor, bias: Tensor, padded: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = self.self_attn_layer_norm(x + self.self_attn(x, bias, padded))
        out: Tensor = self.final_layer_norm(x + self.fc2(functional.gelu(self.fc1(x))))
        return out


class GatedAttention(nn.Module):
    """Self-attention with a relative position bias that each query scales for itself."""

    def __init__(self, shape: EncoderShape, *, owns_bias: bool) -> None:
        super().__init__()
        self.heads = shape.heads
        if owns_bias:
            self.relative_attention_bias = nn.Embedding(shape.buckets, shape.heads)
        self.q_proj = nn.Linear(shape.width, shape.width)
        self.k_proj = nn.Linear(shape.width, shape.width)
        self.v_proj = nn.Linear(shape.width, shape.width)
        self.out_proj = nn.Linear(shape.width, shape.width)
        self.grep_linear = nn.Linear(shape.width // shape.heads, 8)
        self.grep_a = nn.Parameter(torch.ones(1, shape.heads, 1, 1))

    def forward(self, x: Tensor, bias: Tensor, padded: Tensor) -> Tensor:
        """`bias` (H, T, T) is that of the first layer; `padded` (B, T) keys get no weight."""
        mask = (self._gate(x) * bias).masked_fill(padded[:, None, None], -math.inf)  # (B, H, T, T)
        query, key, value = (self._heads(layer(x)) for layer in (self.q_proj, self.k_proj, self.v_proj))
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))  # (B, T, D)
        return out

    def _heads(self, x: Tensor) -> Tensor:
        batch, frames, width = x.shape
        return x.view(batch, frames, self.heads, width // self.heads).transpose(1, 2)  # (B, H, T, D / H)

    def _gate(self, x: Tensor) -> Tensor:
        sums: Tensor = self.grep_linear(self._heads(x))  # (B, H, T, 8)
        update, reset = sums.view(*sums.shape[:-1], 2, 4).sum(dim=-1).sigmoid().chunk(2, dim=-1)
        return update * (reset * self.grep_a - 1.0) + 2.0  # (B, H, T, 1)


def position_buckets(distances: Tensor, buckets: int, max_distance: int) -> Tensor:
    """Bucket of each key-minus-query distance: one per near distance, logarithmic further away, half per sign."""
    half = buckets // 2
    exact = half // 2
    size = distances.abs()
    far = torch.log(size.float() / exact) / math.log(max_distance / exact) * (half - exact)
    coarse = (exact + far.clamp(min=0).long()).clamp(max=half - 1)
    return torch.where(size < exact, size, coarse) + (distances > 0) * half
