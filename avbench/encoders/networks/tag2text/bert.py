"""Layers of BERT that also look at an image or at a text: normalised after each addition. Imports torch.

Entries are named as in BERT's checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.encoders.attention import attend

_EPS = 1e-12


@dataclass(frozen=True)
class BertSize:
    """Words, longest text, width, layers and heads."""

    words: int
    positions: int = 512
    width: int = 768
    layers: int = 12
    heads: int = 12


KeysValues = tuple[Tensor, Tensor]
"""Keys and values of an attention, each (B, heads, L, W / heads)."""


class Attention(nn.Module):
    """Attention of tokens to a source of any width, added to the tokens and normalised."""

    def __init__(self, width: int, source: int) -> None:
        super().__init__()
        self.self = nn.ModuleDict(
            {"query": nn.Linear(width, width), "key": nn.Linear(source, width), "value": nn.Linear(source, width)}
        )
        self.output = _added(width, width)

    def keys_values(self, source: Tensor, heads: int) -> KeysValues:
        """What tokens attend to, of a source (B, L, S)."""
        return _split(self.self["key"](source), heads), _split(self.self["value"](source), heads)

    def forward(self, tokens: Tensor, seen: KeysValues, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, T, W) to the same shape; the mask (..., T, L) is true where they may look."""
        query = _split(self.self["query"](tokens), seen[0].shape[1])
        mixed = attend(query, *seen, mask=mask).transpose(1, 2).flatten(2)
        return add(self.output, mixed, tokens)


class Layer(nn.Module):
    """Attention to each other, attention to a source, and a perceptron."""

    def __init__(self, width: int, inner: int, source: int) -> None:
        super().__init__()
        self.attention = Attention(width, width)
        self.crossattention = Attention(width, source)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = _added(inner, width)

    def look(self, tokens: Tensor, source: KeysValues) -> Tensor:
        """The layer without attention of the tokens (B, T, W) to each other."""
        tokens = self.crossattention(tokens, source)
        return add(self.output, F.gelu(self.intermediate["dense"](tokens)), tokens)


class Embeddings(nn.Module):
    """Words and their positions; without types of tokens."""

    def __init__(self, words: int, positions: int, width: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(words, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.LayerNorm = nn.LayerNorm(width, eps=_EPS)

    def forward(self, ids: Tensor, first: int = 0) -> Tensor:
        """Ids (B, T), the first of which is at position `first` of its text, to tokens (B, T, W)."""
        positions = torch.arange(first, first + ids.shape[1], device=ids.device)
        tokens: Tensor = self.LayerNorm(self.word_embeddings(ids) + self.position_embeddings(positions))
        return tokens


class Bert(nn.Module):
    """Embeddings and layers; `layers` lists them."""

    def __init__(self, size: BertSize, source: int) -> None:
        super().__init__()
        self.heads = size.heads
        self.layers = [Layer(size.width, 4 * size.width, source) for _ in range(size.layers)]
        self.embeddings = Embeddings(size.words, size.positions, size.width)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(self.layers)})


def normed(width: int) -> nn.LayerNorm:
    """BERT's normalisation."""
    return nn.LayerNorm(width, eps=_EPS)


def _added(inner: int, width: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inner, width), "LayerNorm": normed(width)})


def add(output: nn.ModuleDict, values: Tensor, tokens: Tensor) -> Tensor:
    """A projection of the values added to the tokens, normalised."""
    added: Tensor = output["LayerNorm"](output["dense"](values) + tokens)
    return added


def _split(values: Tensor, heads: int) -> Tensor:
    """(B, L, W) by heads: (B, heads, L, W / heads)."""
    return torch.unflatten(values, -1, (heads, -1)).transpose(1, 2)
