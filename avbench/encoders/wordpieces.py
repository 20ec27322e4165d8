"""BERT's uncased vocabulary: texts as ids of word pieces, and back."""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from avbench.errors import EnvironmentProblem

ROW = "bert_base_uncased_vocab"
PIECES = 30_522
PADDING, UNKNOWN, START, END, MASK = 0, 100, 101, 102, 103
_SPECIAL = {PADDING: "[PAD]", UNKNOWN: "[UNK]", START: "[CLS]", END: "[SEP]", MASK: "[MASK]"}
# As BERT's tokenizer joins words when it turns ids into text.
_JOINED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class WordPieces:
    """A vocabulary, its pieces in the order of their ids."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = pieces

    def encode(self, text: str) -> list[int]:
        """Ids of a text: lower case, without accents, without special tokens."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def spell(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens are left out, and ids beyond the vocabulary, which are special as well.

        Source: BertTokenizer.decode of transformers 4, with `skip_special_tokens`.
        """
        words = [self.pieces[number] for number in ids if number not in _SPECIAL and number < len(self.pieces)]
        text = " ".join(words).replace(" ##", "")
        for apart in _JOINED:
            text = text.replace(apart, apart.strip())
        return text

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import BertWordPieceTokenizer

        return BertWordPieceTokenizer({piece: number for number, piece in enumerate(self.pieces)}, lowercase=True)


def read_word_pieces(path: Path) -> WordPieces:
    """The published vocabulary.

    Raises:
        EnvironmentProblem: another number of pieces, or special tokens elsewhere.
    """
    pieces = path.read_text(encoding="utf-8").splitlines()
    if len(pieces) != PIECES or any(pieces[number] != piece for number, piece in _SPECIAL.items()):
        raise EnvironmentProblem(f"{path} is not the vocabulary of bert-base-uncased. Get the file again.")
    return WordPieces(pieces)


def stand_in_word_pieces() -> WordPieces:
    """A vocabulary for tests, without the published file: letters and digits, so that it spells any text, and words."""
    characters = string.ascii_lowercase + string.digits + string.punctuation
    known = [*characters, *(f"##{character}" for character in characters)]
    words = cycle(["alley", "beach", "park", "street", "tower", "kitchen", "and"])
    pieces = list(islice(words, PIECES))
    pieces[1 : 1 + UNKNOWN - 1] = known[: UNKNOWN - 1]
    pieces[MASK + 1 : MASK + 1 + len(known) - UNKNOWN + 1] = known[UNKNOWN - 1 :]
    for number, piece in _SPECIAL.items():
        pieces[number] = piece
    return WordPieces(pieces)
