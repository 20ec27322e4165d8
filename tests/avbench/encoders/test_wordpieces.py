"""BERT's vocabulary: texts to ids and back, and which files are taken for it."""

from __future__ import annotations

import pytest

from avbench.encoders.wordpieces import PIECES, WordPieces, read_word_pieces, stand_in_word_pieces
from avbench.errors import EnvironmentProblem

pytest.importorskip("tokenizers")


def test_texts_come_back_in_lower_case_without_accents():
    words = stand_in_word_pieces()
    assert words.spell(words.encode("A Café, 24 h")) == "a cafe, 24 h"


def test_special_ids_are_left_out():
    words = stand_in_word_pieces()
    assert words.spell([101, *words.encode("fog"), 102, 0, 0, PIECES, PIECES + 1]) == "fog"


@pytest.mark.parametrize(
    ("text", "spelled"), [("don't stop .", "don't stop."), ("what ?", "what?"), ("it ' s", "it's"), ("", "")]
)
def test_marks_are_joined_as_by_the_published_tokenizer(text, spelled):
    words = stand_in_word_pieces()
    assert words.spell(words.encode(text)) == spelled


def test_a_piece_that_goes_on_without_a_beginning_stays_as_it_is():
    pieces = ["", "bat", "##man", "a"]
    assert WordPieces(pieces).spell([1, 2]) == "batman"
    assert WordPieces(pieces).spell([2, 3]) == "##man a"


@pytest.mark.parametrize("damage", [lambda pieces: pieces[:-1], lambda pieces: pieces[1:] + pieces[:1]])
def test_another_vocabulary_is_refused(tmp_path, damage):
    path, pieces = tmp_path / "vocab.txt", list(stand_in_word_pieces().pieces)
    path.write_text("\n".join(pieces), encoding="utf-8")
    assert read_word_pieces(path).pieces == pieces
    path.write_text("\n".join(damage(pieces)), encoding="utf-8")
    with pytest.raises(EnvironmentProblem, match="not the vocabulary"):
        read_word_pieces(path)
