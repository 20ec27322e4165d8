"""Token ids of BERT's uncased vocabulary as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avbench.errors import EnvironmentProblem

VOCABULARY = 30522
_SPECIAL = {0, 100, 101, 102, 103}  # [PAD], [UNK], [CLS], [SEP], [MASK]
# As BERT's tokenizer joins words when it turns ids into text.
_JOINED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


def read_vocabulary(path: Path) -> list[str]:
    """The pieces of words, by id.

    Raises:
        EnvironmentProblem: another number of pieces, or special tokens elsewhere.
    """
    pieces = path.read_text(encoding="utf-8").splitlines()
    if len(pieces) != VOCABULARY or pieces[100:104] != ["[UNK]", "[CLS]", "[SEP]", "[MASK]"]:
        raise EnvironmentProblem(f"{path} is not the vocabulary of bert-base-uncased. Get the file again.")
    return pieces


def stand_in_vocabulary() -> list[str]:
    """Words for tests, without the published file: some are names and colours, so that scores differ from 0."""
    words = "red", "cat", "blue", "bird", "car", "on", "dog"
    return [words[number % len(words)] for number in range(VOCABULARY)]


def spell(ids: Sequence[int], pieces: Sequence[str]) -> str:
    """Text of token ids; special tokens are left out.

    Source: BertTokenizer.decode of transformers 4, with `skip_special_tokens`.
    """
    text = " ".join(pieces[number] for number in ids if number not in _SPECIAL).replace(" ##", "")
    for apart in _JOINED:
        text = text.replace(apart, apart.strip())
    return text
