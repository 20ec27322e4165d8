"""NISQA v2.0 and NISQA-TTS v1.0: convolutions per image, relations over time, one number each. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Overall quality, noisiness, discontinuity, coloration, loudness.
DIMENSIONS = 5


@dataclass(frozen=True)
class Shape:
    """Sizes of a network; the defaults are those of the published ones.

    Attributes:
        channels: of the convolutions: the first, the second, and the four others.
        width, layers: of the self-attention (v2.0).
        attention: hidden units of the pooling (v2.0).
        features: of an image, before the recurrence (TTS).
        recurrent: hidden units of the recurrence in one direction (TTS).
    """

    channels: tuple[int, int, int] = (16, 32, 64)
    width: int = 64
    layers: int = 2
    attention: int = 128
    features: int = 20
    recurrent: int = 128


PUBLISHED = Shape()
REDUCED = Shape((2, 4, 4), 8, 1, 8, 4, 4)


class Nisqa(nn.Module):
    """NISQA v2.0: self-attention over images, and five scores of transmitted speech."""

    def __init__(self, shape: Shape = PUBLISHED) -> None:
        super().__init__()
        self.cnn = Named(PoolingCnn(shape))
        self.time_dependency = Named(SelfAttention(shape.channels[-1] * 6, shape))
        self.pool_layers = nn.ModuleList(Named(AttentionPool(shape)) for _ in range(DIMENSIONS))

    def forward(self, images: Tensor) -> Tensor:
        """Images of one sound (W, 1, 48, 15) -> (5,)."""
        steps = self.time_dependency(self.cnn(images))
        return torch.stack([pool(steps) for pool in self.pool_layers])


class NisqaTts(nn.Module):
    """NISQA-TTS v1.0: a recurrence over images, and the naturalness of synthetic speech."""

    def __init__(self, shape: Shape = PUBLISHED) -> None:
        super().__init__()
        self.cnn = Named(StrideCnn(shape))
        self.time_dependency = Named(Recurrence(shape))
        self.pool = Named(EndsPool(shape))

    def forward(self, images: Tensor) -> Tensor:
        """Images of one sound (W, 1, 48, 15) -> (1,)."""
        result: Tensor = self.pool(self.time_dependency(self.cnn(images)))
        return result


class Named(nn.Module):
    """A part under the name `model`, as the entries of the checkpoints have it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        """What the part gives."""
        result: Tensor = self.model(inputs)
        return result


class Convolutions(nn.Module):
    """Six convolutions with norms; how they are pooled differs."""

    def __init__(self, shape: Shape, last: nn.Conv2d) -> None:
        super().__init__()
        first, second, third = shape.channels
        sizes = [(1, first), (first, second), (second, third), (third, third), (third, third)]
        for number, (before, after) in enumerate(sizes, 1):
            setattr(self, f"conv{number}", nn.Conv2d(before, after, 3, padding=1))
        self.conv6 = last
        for number, channels in enumerate((first, second, third, third, third, third), 1):
            setattr(self, f"bn{number}", nn.BatchNorm2d(channels))

    def step(self, number: int, inputs: Tensor) -> Tensor:
        """Convolution, norm and ReLU of this number."""
        convolution, norm = getattr(self, f"conv{number}"), getattr(self, f"bn{number}")
        result: Tensor = F.relu(norm(convolution(inputs)))
        return result


class PoolingCnn(Convolutions):
    """Pools to given sizes; the last convolution spans what is left of the width."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, nn.Conv2d(shape.channels[-1], shape.channels[-1], 3, padding=(1, 0)))

    def forward(self, images: Tensor) -> Tensor:
        """(W, 1, 48, 15) -> (W, C * 6)."""
        hidden = F.adaptive_max_pool2d(self.step(1, images), (24, 7))
        hidden = F.adaptive_max_pool2d(self.step(2, hidden), (12, 5))
        hidden = F.adaptive_max_pool2d(self.step(4, self.step(3, hidden)), (6, 3))
        return self.step(6, self.step(5, hidden)).flatten(1)


class StrideCnn(Convolutions):
    """Halves both sides three times, then a linear layer."""

    def __init__(self, shape: Shape) -> None:
        channels = shape.channels[-1]
        super().__init__(shape, nn.Conv2d(channels, channels, 3, padding=1))
        self.fc_out = nn.Linear(channels * 6 * 2, shape.features)

    def forward(self, images: Tensor) -> Tensor:
        """(W, 1, 48, 15) -> (W, F)."""
        hidden = F.max_pool2d(self.step(1, images), 2, padding=(0, 1))
        hidden = F.max_pool2d(self.step(2, hidden), 2)
        hidden = F.max_pool2d(self.step(4, self.step(3, hidden)), 2)
        result: Tensor = self.fc_out(self.step(6, self.step(5, hidden)).flatten(1))
        return result


class SelfAttention(nn.Module):
    """Projection, norm, and layers of self-attention without positions."""

    def __init__(self, features: int, shape: Shape) -> None:
        super().__init__()
        self.linear = nn.Linear(features, shape.width)
        self.norm1 = nn.LayerNorm(shape.width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(shape.width, 1, shape.width, dropout=0.0, batch_first=True)
            for _ in range(shape.layers)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(W, C) -> (W, D)."""
        steps: Tensor = self.norm1(self.linear(features))[None]
        for layer in self.layers:
            steps = layer(steps)
        return steps[0]


class AttentionPool(nn.Module):
    """Mean over images under learned weights, then one number."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.linear1 = nn.Linear(shape.width, shape.attention)
        self.linear2 = nn.Linear(shape.attention, 1)
        self.linear3 = nn.Linear(shape.width, 1)

    def forward(self, steps: Tensor) -> Tensor:
        """(W, D) -> ()."""
        weights = self.linear2(self.linear1(steps).relu()).softmax(dim=0)  # (W, 1)
        result: Tensor = self.linear3((weights * steps).sum(dim=0))
        return result[0]


class Recurrence(nn.Module):
    """An LSTM in both directions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.lstm = nn.LSTM(shape.features, shape.recurrent, batch_first=True, bidirectional=True)

    def forward(self, features: Tensor) -> Tensor:
        """(W, F) -> (W, 2 H)."""
        result: Tensor = self.lstm(features[None])[0]
        return result[0]


class EndsPool(nn.Module):
    """One number of the two states that have read everything: forward at the end, backward at the start."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * shape.recurrent, 1)

    def forward(self, steps: Tensor) -> Tensor:
        """(W, 2 H) -> (1,)."""
        half = steps.shape[1] // 2
        result: Tensor = self.linear(torch.cat([steps[-1, :half], steps[0, half:]]))
        return result
