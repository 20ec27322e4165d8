"""Tag2Text as a network: tags of an image, and a caption read off those tags and the image. Imports torch.

Entries are named as in the published checkpoint, which holds some of them under a second name, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.encoders.networks.tag2text.beam_search import Rules, beam_search
from avbench.encoders.networks.tag2text.bert import Bert, BertSize, KeysValues, normed
from avbench.encoders.networks.tag2text.swin import Swin
from avbench.errors import EnvironmentProblem

WORDS = 30_524
BEGIN_CAPTION, BEGIN_TAGS, END = 30_522, 30_523, 102
TAGS = 3429
_TAG_LAYERS, _TAG_HEADS = 2, 4
CAPTION = Rules(beams=3, shortest=10, longest=30, end=END)
# Names under which the checkpoint holds an entry a second time, and tables of indices, which are no weights.
_SECOND_NAMES = {
    "vision_multi.encoder.layer.": "tag_encoder.encoder.layer.",
    "text_decoder.cls.predictions.decoder.weight": "text_decoder.bert.embeddings.word_embeddings.weight",
    "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
}
_TABLES = ("relative_position_index", "attn_mask", "position_ids")


_BERT = BertSize(WORDS)


@dataclass(frozen=True)
class Size:
    """Of Swin the first width, the stages with their heads, and the side of a patch; of both BERTs the same."""

    swin: int = 128
    stages: tuple[int, ...] = (2, 2, 18, 2)
    swin_heads: tuple[int, ...] = (4, 8, 16, 32)
    patch: int = 4
    bert: BertSize = _BERT


REDUCED = Size(
    swin=16, stages=(1, 2, 1, 1), swin_heads=(2, 2, 2, 2), patch=16, bert=BertSize(WORDS, width=32, layers=2, heads=4)
)


class Tag2Text(nn.Module):
    """The parts: Swin, the encoder of tags, the decoder of captions, and a query and a classifier for each tag."""

    def __init__(self, size: Size = Size()) -> None:
        super().__init__()
        seen, width = size.swin * 2 ** (len(size.stages) - 1), size.bert.width
        self.visual_encoder = Swin(size.swin, size.stages, size.swin_heads, size.patch)
        self.text_decoder = TextDecoder(size.bert)
        self.tag_encoder = Bert(size.bert, seen)
        self.label_embed = nn.Embedding(TAGS, width)
        self.fc = TagHead(width)

    def tag_logits(self, image: Tensor) -> Tensor:
        """Image tokens (B, L, V) to logits of the tags (B, 3429)."""
        queries = self.label_embed.weight.expand(len(image), -1, -1)
        for layer in self.tag_encoder.layers[:_TAG_LAYERS]:
            queries = layer.look(queries, layer.crossattention.keys_values(image, _TAG_HEADS))
        logits: Tensor = self.fc(queries)
        return logits

    def context(self, tags: Tensor, image: Tensor) -> Tensor:
        """What a caption is read off (B, 40, W): the tags' ids (B, 40), padded with 0, in view of the image tokens."""
        encoder = self.tag_encoder
        tokens: Tensor = encoder.embeddings(tags)
        mask = (tags != 0)[:, None, None]  # (B, 1, 1, 40)
        for layer in encoder.layers:
            tokens = layer.attention(tokens, layer.attention.keys_values(tokens, encoder.heads), mask)
            tokens = layer.look(tokens, layer.crossattention.keys_values(image, encoder.heads))
        return tokens

    def captions(self, context: Tensor, prompt: list[int]) -> list[list[int]]:
        """Ids of the caption of each context (B, 40, W); the ids of the prompt come first in each."""
        return beam_search(Reader(self.text_decoder, context), prompt, len(context), CAPTION, context.device)


class TagHead(nn.Module):
    """A classifier for each tag."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.zeros(1, TAGS, width))
        self.b = nn.Parameter(torch.zeros(1, TAGS))

    def forward(self, queries: Tensor) -> Tensor:
        """(B, 3429, W) to logits (B, 3429)."""
        return (self.W * queries).sum(dim=-1) + self.b


class TextDecoder(nn.Module):
    """BERT that reads from left to right, with a head for the next word."""

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        self.bert = Bert(size, size.width)
        self.cls = nn.ModuleDict({"predictions": WordHead(size)})

    def logits(self, tokens: Tensor) -> Tensor:
        """Tokens (N, W) to logits of the word that follows (N, 30524); the words' embeddings are its weights."""
        logits: Tensor = self.cls["predictions"](tokens, self.bert.embeddings.word_embeddings.weight)
        return logits


class WordHead(nn.Module):
    """A layer before the embeddings of the words, which give their logits."""

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(size.words))
        self.transform = nn.ModuleDict({"dense": nn.Linear(size.width, size.width), "LayerNorm": normed(size.width)})

    def forward(self, tokens: Tensor, words: Tensor) -> Tensor:
        """Tokens (N, W) to logits (N, words)."""
        return F.linear(self.transform["LayerNorm"](F.gelu(self.transform["dense"](tokens))), words, self.bias)


class Reader:
    """Texts being written: what the decoder saw of them so far, and what each is read off.

    Args:
        decoder: the network.
        context: what a caption is read off (N, L, W).
    """

    def __init__(self, decoder: TextDecoder, context: Tensor) -> None:
        self._decoder, self._bert = decoder, decoder.bert
        self._sources = [layer.crossattention.keys_values(context, self._bert.heads) for layer in self._bert.layers]
        self._seen: list[KeysValues] = []

    def start(self, prompt: Tensor) -> Tensor:
        """Logits (N, 30524) after the prompt (N, T)."""
        length = prompt.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool, device=prompt.device).tril()
        return self._read(prompt, [], mask)

    def step(self, tokens: Tensor, rows: Tensor) -> Tensor:
        """Logits (M, 30524) after one more token (M,) for the texts in these rows (M,) of those before.

        A row may take over from another one of its own context only.
        """
        if len(rows) != len(self._sources[0][0]):  # the first step: from one text to its beams
            self._sources = [(keys[rows], values[rows]) for keys, values in self._sources]
        return self._read(tokens[:, None], [(keys[rows], values[rows]) for keys, values in self._seen], None)

    def _read(self, ids: Tensor, before: list[KeysValues], mask: Tensor | None) -> Tensor:
        tokens = self._bert.embeddings(ids, before[0][0].shape[2] if before else 0)
        self._seen = []
        for number, layer in enumerate(self._bert.layers):
            keys, values = layer.attention.keys_values(tokens, self._bert.heads)
            if before:
                keys = torch.cat([before[number][0], keys], dim=2)
                values = torch.cat([before[number][1], values], dim=2)
            self._seen.append((keys, values))
            tokens = layer.look(layer.attention(tokens, (keys, values), mask), self._sources[number])
        return self._decoder.logits(tokens[:, -1])


def without_second_names(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The entries of the published file that are weights, each under one name.

    Raises:
        EnvironmentProblem: an entry that differs from the one whose second name it is.
    """
    kept = {name: value for name, value in state.items() if not name.endswith(_TABLES)}
    for name in list(kept):
        for second, first in _SECOND_NAMES.items():
            original = name.replace(second, first, 1) if name.startswith(second) else name
            if original != name and original in kept:
                if not torch.equal(kept[name], kept[original]):
                    raise EnvironmentProblem(f"{path}: {name} differs from {original}, whose second name it is.")
                del kept[name]
    return kept
