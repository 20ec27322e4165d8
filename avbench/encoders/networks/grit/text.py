"""The decoder of GRiT that writes a name or a caption for a region. Imports torch.

Source: Wang et al., "GIT: A Generative Image-to-text Transformer for Vision and Language", arXiv 2205.14100.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.encoders.wordpieces import PIECES

NAME = 101  # begin tokens: of an object's name, and of a caption
CAPTION = 104
END = 102
_POSITIONS = 1024
_REPEATED = -10000.0  # logit of the token just written, which may not follow itself
# Regions written at a time: 32 of 196 tokens keep 230 MB of keys and values in float32.
_REGIONS_AT_ONCE = 32


@dataclass(frozen=True)
class TextSizes:
    """Sizes of the decoder.

    Attributes:
        layers, width, heads, inner: of its transformer.
        tokens: most tokens of a text, begin and end included.
        words: V, tokens of the vocabulary.
    """

    layers: int = 6
    width: int = 768
    heads: int = 12
    inner: int = 3072
    tokens: int = 40
    words: int = PIECES


class Memory:
    """Keys and values of one layer (n, heads, room, d), filled from the left."""

    def __init__(self, key: Tensor, value: Tensor, more: int) -> None:
        self.seen = key.shape[2]
        self.keys, self.values = (F.pad(part, (0, 0, 0, more)) for part in (key, value))

    def with_token(self, key: Tensor, value: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """Everything up to a text token, whose key and value (n, heads, 1, d) are written at its position."""
        end = self.seen + position + 1
        self.keys[:, :, end - 1 : end], self.values[:, :, end - 1 : end] = key, value
        return self.keys[:, :, :end], self.values[:, :, :end]


def _dense(inputs: int, outputs: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inputs, outputs)})


def _dense_with_norm(inputs: int, outputs: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inputs, outputs), "LayerNorm": nn.LayerNorm(outputs, eps=1e-12)})


class Layer(nn.Module):
    """BERT's layer, with entries named as there."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        width = sizes.width
        self.heads = sizes.heads
        projections = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": projections, "output": _dense_with_norm(width, width)})
        self.intermediate = _dense(width, sizes.inner)
        self.output = _dense_with_norm(sizes.inner, width)

    def project(self, x: Tensor) -> Iterator[Tensor]:
        """Query, key and value (n, heads, L, d) of tokens (n, L, D)."""
        for name in ("query", "key", "value"):
            projected: Tensor = self.get_submodule(f"attention.self.{name}")(x)  # (n, L, D)
            yield projected.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def finish(self, x: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The rest of the layer for tokens (n, L, D) with these queries, over all given keys and values."""
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = _added(self.attention["output"], seen, x)
        return _added(self.output, F.gelu(self.intermediate["dense"](x)), x)


def _added(part: nn.Module, x: Tensor, residual: Tensor) -> Tensor:
    assert isinstance(part, nn.ModuleDict)
    out: Tensor = part["LayerNorm"](part["dense"](x) + residual)
    return out


class Embedding(nn.Module):
    """Tokens and their positions as vectors."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.words = nn.Embedding(sizes.words, sizes.width)
        self.positions = nn.Embedding(_POSITIONS, sizes.width)
        self.layer_norm = nn.LayerNorm(sizes.width, eps=1e-8)

    def forward(self, tokens: Tensor, position: int) -> Tensor:
        """Tokens (n, 1) that stand at one position -> (n, 1, D)."""
        out: Tensor = self.layer_norm(self.words(tokens) + self.positions.weight[position])
        return out


class Textual(nn.Module):
    """The network of the decoder; its last layer multiplies by the table of words."""

    def __init__(self, channels: int, sizes: TextSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.object_feature_projection = nn.Sequential(nn.Linear(channels, sizes.width), nn.LayerNorm(sizes.width))
        self.embedding = Embedding(sizes)
        layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.transformer = nn.ModuleDict({"encoder": nn.ModuleDict({"layer": layers})})
        self.output = nn.ParameterDict({"bias": torch.zeros(sizes.words)})

    def layers(self) -> Iterator[Layer]:
        """The layers in order."""
        layers = self.get_submodule("transformer.encoder.layer")
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            assert isinstance(layer, Layer)
            yield layer

    def look(self, features: Tensor) -> list[Memory]:
        """What each layer keeps of regions (n, L, C). It depends on no text, so all texts share it."""
        x = self.object_feature_projection(features)
        memories = []
        for layer in self.layers():
            query, key, value = layer.project(x)
            memories.append(Memory(key, value, self.sizes.tokens))
            x = layer.finish(x, query, key, value)
        return memories

    def next_logits(self, tokens: Tensor, position: int, memories: list[Memory]) -> Tensor:
        """Logits (n, V) in float32 of what follows tokens (n, 1) at a position, and keep these tokens in memory."""
        x = self.embedding(tokens, position)
        for layer, memory in zip(self.layers(), memories, strict=True):
            query, key, value = layer.project(x)
            x = layer.finish(x, query, *memory.with_token(key, value, position))
        return F.linear(x[:, 0], self.embedding.words.weight, self.output["bias"]).float()


class TextDecoder(nn.Module):
    """Writes the likeliest next token again and again."""

    def __init__(self, channels: int, sizes: TextSizes) -> None:
        super().__init__()
        self.textual = Textual(channels, sizes)

    def forward(self, features: Tensor, begins: tuple[int, ...]) -> list[list[list[int]]]:
        """Texts of regions.

        Args:
            features: (N, L, C).
            begins: begin tokens, one for each kind of text.

        Returns:
            For each kind N lists of token ids, without the begin token and from the end token on.
        """
        texts: list[list[list[int]]] = [[] for _ in begins]
        for start in range(0, len(features), _REGIONS_AT_ONCE):
            part = features[start : start + _REGIONS_AT_ONCE]
            memories = self.textual.look(part)
            for kind, begin in zip(texts, begins, strict=True):
                kind += [_until_end(row) for row in self._write(memories, begin, len(part)).tolist()]
        return texts

    def _write(self, memories: list[Memory], begin: int, count: int) -> Tensor:
        """Token ids (count, L), begin token first; after an end token only end tokens."""
        tokens = torch.full((count, 1), begin, device=memories[0].keys.device)
        ended = torch.zeros(count, 1, dtype=torch.bool, device=tokens.device)
        while tokens.shape[1] < self.textual.sizes.tokens and not ended.all():
            last = tokens[:, -1:]
            logits = self.textual.next_logits(last, tokens.shape[1] - 1, memories)
            if tokens.shape[1] > 1:
                logits.scatter_(1, last, _REPEATED)
            chosen = logits.argmax(dim=1, keepdim=True).masked_fill(ended, END)
            tokens = torch.cat([tokens, chosen], dim=1)
            ended = chosen == END
        return tokens


def _until_end(row: list[int]) -> list[int]:
    ids = row[1:]
    return ids[: ids.index(END)] if END in ids else ids
