"""DistillMOS: convolutions over a complex spectrogram, a transformer, attention over time. Imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLES = 122_880
"""Length of the sound that the network hears at once: 7.68 s at 16 kHz, 384 steps in time."""
_WINDOW, _HOP = 320, 160
# The usual floor of a magnitude, and the power that compresses it.
_FLOOR, _POWER = 1e-12, 0.3


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; the defaults are those of the published one.

    Attributes:
        channels: of the six convolutions.
        width, heads, layers: of the transformer.
        steps: most steps in time.
    """

    channels: tuple[int, ...] = (64, 64, 128, 256, 256, 256)
    width: int = 200
    heads: int = 8
    layers: int = 7
    steps: int = 384


PUBLISHED = Shape()


class DistillMos(nn.Module):
    """Predicted opinion score of sound at 16 kHz."""

    def __init__(self, shape: Shape = PUBLISHED) -> None:
        super().__init__()
        self.cnn = SpectrogramLayers(shape)
        self.transformer_pool_attn = QualityOverTime(shape.channels[-1] * self.cnn.rows, shape)

    def forward(self, sound: Tensor) -> Tensor:
        """(B, 122880), any level -> (B,), 1 to 5."""
        sound = sound / (sound.abs().amax(dim=1, keepdim=True) + 1e-8)
        quality: Tensor = self.transformer_pool_attn(self.cnn(sound))
        return 1 + 4 * quality


def compressed_spectrogram(sound: Tensor) -> Tensor:
    """Real and imaginary part under a compressed magnitude: (B, N) -> (B, 2, 161, N / 160)."""
    padded = F.pad(sound, ((_WINDOW - _HOP) // 2,) * 2, mode="reflect")
    window = torch.hann_window(_WINDOW, device=sound.device)
    spectrum = torch.stft(padded, _WINDOW, _HOP, window=window, center=False, return_complex=True)
    parts = torch.view_as_real(spectrum)  # (B, 161, T, 2)
    magnitude = parts.square().sum(dim=-1, keepdim=True).sqrt().clip(_FLOOR)
    return (magnitude**_POWER * parts / magnitude).permute(0, 3, 1, 2)


class SpectrogramLayers(nn.Module):
    """Six convolutions: all but the first halve the frequencies, the last one the time."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.rows = _WINDOW // 2 + 1
        layers: list[nn.Module] = []
        before = 2
        for index, channels in enumerate(shape.channels):
            strides = (2 if index else 1, 2 if index == len(shape.channels) - 1 else 1)
            layers += [nn.Conv2d(before, channels, 3, strides, padding=(0, 1)), nn.LeakyReLU(0.1)]
            self.rows = (self.rows - 3) // strides[0] + 1
            before = channels
        self.cnn = nn.Sequential(*layers)

    def forward(self, sound: Tensor) -> Tensor:
        """(B, N) -> (B, T, C)."""
        features: Tensor = self.cnn(compressed_spectrogram(sound))
        return features.flatten(1, 2).transpose(1, 2)


class QualityOverTime(nn.Module):
    """Transformer over the steps in time, and one number of them all."""

    def __init__(self, features: int, shape: Shape) -> None:
        super().__init__()
        self.norm_input = nn.BatchNorm1d(features)
        self.transformer = Transformer(features, shape)
        self.norm_trans = nn.BatchNorm1d(shape.width)
        self.pool = AttentionPool(shape.width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, C) -> (B,), 0 to 1."""
        normed = self.norm_input(features.transpose(1, 2)).transpose(1, 2)
        steps = self.norm_trans(self.transformer(normed).transpose(1, 2))
        result: Tensor = self.pool(steps.transpose(1, 2)).sigmoid()
        return result


class Transformer(nn.Module):
    """Norm, projection, positions, encoder layers."""

    def __init__(self, features: int, shape: Shape) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(features)
        self.position_encoding = Positions(shape.width, shape.steps)
        self.linear_proj = nn.Linear(features, shape.width)
        layer = nn.TransformerEncoderLayer(shape.width, shape.heads, 2 * shape.width, dropout=0.0, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(layer, shape.layers, enable_nested_tensor=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, D)."""
        steps = self.linear_proj(self.norm(features.transpose(1, 2)).transpose(1, 2))
        result: Tensor = self.transformer_encoder(self.position_encoding(steps))
        return result


class Positions(nn.Module):
    """Sines and cosines of the position, added."""

    pe: Tensor

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(2 * steps) / width))
        angles = torch.arange(steps)[:, None] * frequencies
        table = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
        self.register_buffer("pe", table[None])

    def forward(self, steps: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return steps + self.pe[:, : steps.shape[1]]


class AttentionPool(nn.Module):
    """Mean over time under learned weights, then one number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, 2 * width)
        self.linear2 = nn.Linear(2 * width, 1)
        self.linear3 = nn.Linear(width, 1)

    def forward(self, steps: Tensor) -> Tensor:
        """(B, T, D) -> (B,)."""
        weights = self.linear2(self.linear1(steps).relu()).softmax(dim=1)  # (B, T, 1)
        result: Tensor = self.linear3((weights * steps).sum(dim=1))
        return result[:, 0]
