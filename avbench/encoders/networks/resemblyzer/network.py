"""Resemblyzer's network: three recurrent layers over mel bands, one direction per voice. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

BANDS = 40


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; the defaults are those of the published one."""

    hidden: int = 256
    layers: int = 3
    embedding: int = 256


PUBLISHED = Shape()
REDUCED = Shape(8, 1, 8)


class VoiceEncoder(nn.Module):
    """Embeddings of stretches of speech."""

    def __init__(self, shape: Shape = PUBLISHED) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, shape.hidden, shape.layers, batch_first=True)
        self.linear = nn.Linear(shape.hidden, shape.embedding)
        # Of the loss that the network was trained with; they are in its checkpoint.
        self.similarity_weight = nn.Parameter(torch.full((1,), 10.0))
        self.similarity_bias = nn.Parameter(torch.full((1,), -5.0))

    def forward(self, mel: Tensor) -> Tensor:
        """(B, T, 40) -> (B, 256) of length 1, no number below 0."""
        last = self.lstm(mel)[1][0][-1]  # (B, H)
        raw = self.linear(last).relu()
        result: Tensor = raw / raw.norm(dim=1, keepdim=True).clip(torch.finfo(raw.dtype).tiny)
        return result
