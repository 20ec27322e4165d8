"""A fixed embedding of the miniature worlds' words, in place of a text encoder."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from omninft_train.errors import UsageError, near
from omninft_train.miniature.world import describe, split_words, subjects
from omninft_train.models.latents import Condition

LENGTH = 10
"""Words of a prompt; what is left over is filled with zeros."""
FEATURES = 64
_SEED = 20_260_512


def vocabulary(prompts: Collection[str]) -> tuple[str, ...]:
    """All words of some prompts, in order."""
    return tuple(sorted({word for text in prompts for word in split_words(text)}))


VOCABULARY = vocabulary([describe(subject).prompt_av for subject in subjects()])


def _table(rows: int, stream: int) -> Tensor:
    generator = torch.Generator().manual_seed(_SEED + stream)
    return torch.randn(rows, FEATURES, generator=generator)


class Words:
    """Each word a random direction; positions differ by a weaker one.

    Args:
        known: the words.
        length: rows of a text; what is left over is filled with zeros.
    """

    def __init__(self, known: Sequence[str], length: int) -> None:
        self.known = tuple(known)
        self._length = length
        self._words = dict(zip(known, _table(len(known), 0), strict=True))
        self._places = 0.3 * _table(length, 1)

    def check(self, prompt: str) -> None:
        """Whether all words of a prompt are known.

        Raises:
            UsageError: one is not.
        """
        for word in split_words(prompt):
            if word not in self._words:
                raise UsageError(f"prompt {prompt!r}: the miniature has no word '{word}'. {near(word, self.known)}")

    def rows(self, text: str) -> Tensor:
        """A text as (length, FEATURES).

        Raises:
            UsageError: a word that is not known, or too many of them.
        """
        words = split_words(text)
        if len(words) > self._length:
            raise UsageError(f"prompt {text!r} has {len(words)} words; the miniature takes {self._length}. Shorten it.")
        self.check(text)
        rows = torch.zeros(self._length, FEATURES)
        for position, word in enumerate(words):
            rows[position] = self._words[word] + self._places[position]
        return rows


_SOLO = Words(VOCABULARY, LENGTH)


def embed(prompts: Sequence[str]) -> Condition:
    """Conditioning of prompts: both streams get the same words, (B, S, D).

    An empty prompt is all zeros; that is what guidance leads away from.

    Raises:
        UsageError: a word that the world does not have, or too many of them.
    """
    words = torch.stack([_SOLO.rows(prompt) for prompt in prompts])
    return Condition(words, words)
