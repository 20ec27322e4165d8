"""A fixed embedding of the miniature world's words, in place of a text encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omninft_train.errors import UsageError, near
from omninft_train.miniature.world import describe, split_words, subjects
from omninft_train.models.latents import Condition

LENGTH = 10
"""Words of a prompt; what is left over is filled with zeros."""
FEATURES = 64
_SEED = 20_260_512


def _vocabulary() -> tuple[str, ...]:
    texts = (describe(subject).prompt_av for subject in subjects())
    return tuple(sorted({word for text in texts for word in split_words(text)}))


VOCABULARY = _vocabulary()


def _table(rows: int, stream: int) -> Tensor:
    generator = torch.Generator().manual_seed(_SEED + stream)
    return torch.randn(rows, FEATURES, generator=generator)


# Each word a random direction; positions differ by a weaker one.
_WORDS = dict(zip(VOCABULARY, _table(len(VOCABULARY), 0), strict=True))
_PLACES = 0.3 * _table(LENGTH, 1)


def embed(prompts: Sequence[str]) -> Condition:
    """Conditioning of prompts: both streams get the same words, (B, S, D).

    An empty prompt is all zeros; that is what guidance leads away from.

    Raises:
        UsageError: a word that the world does not have, or too many of them.
    """
    words = torch.stack([_embed_one(prompt) for prompt in prompts])
    return Condition(words, words)


def _embed_one(prompt: str) -> Tensor:
    words = split_words(prompt)
    if len(words) > LENGTH:
        raise UsageError(f"prompt {prompt!r} has {len(words)} words; the miniature takes {LENGTH}. Shorten it.")
    rows = torch.zeros(LENGTH, FEATURES)
    for position, word in enumerate(words):
        if word not in _WORDS:
            raise UsageError(f"prompt {prompt!r}: the miniature has no word '{word}'. {near(word, VOCABULARY)}")
        rows[position] = _WORDS[word] + _PLACES[position]
    return rows
