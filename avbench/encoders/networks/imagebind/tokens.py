"""Captions as CLIP's byte pairs. Imports open_clip, whose package carries the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from avbench.encoders.networks.imagebind.encoders import TOKENS
from avbench.encoders.networks.imagebind.network import VOCABULARY
from avbench.errors import EnvironmentProblem


@cache
def _tokenizer() -> SimpleTokenizer:
    tokenizer = SimpleTokenizer()
    if tokenizer.vocab_size != VOCABULARY:
        raise EnvironmentProblem(
            f"open_clip's vocabulary has {tokenizer.vocab_size} entries, expected {VOCABULARY}. "
            "Reinstall it: pip install --force-reinstall open-clip-torch"
        )
    return tokenizer


@lru_cache(maxsize=4096)
def _ids(text: str) -> tuple[int, ...]:
    """Token ids with start and end, uncut. Remembered, because both modes and the count of cut captions ask."""
    tokenizer = _tokenizer()
    return (tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id)


def count_tokens(text: str) -> int:
    """Tokens of a caption with start and end; more than 77 are cut."""
    return len(_ids(text))


def tokenize(texts: Sequence[str], *, ib_text_truncation: bool) -> Tensor:
    """Token ids (B, 77), zero behind the end.

    Args:
        texts: captions.
        ib_text_truncation: cut a long caption together with its end token, as the reference does. ImageBind reads a
            caption at its end token, so all captions that were cut that way get one and the same embedding. False
            puts the end token into the last position.
    """
    result = torch.zeros(len(texts), TOKENS, dtype=torch.long)
    for row, text in zip(result, texts, strict=True):
        ids = torch.tensor(_ids(text)[:TOKENS])
        row[: len(ids)] = ids
        if not ib_text_truncation and len(ids) == TOKENS:
            row[-1] = _tokenizer().eot_token_id
    return result
