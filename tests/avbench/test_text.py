"""Text of strangers, made visible."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.text import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A dog barks.", "A dog barks."),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\x9b31m", r"a\x9b31m"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        ("two\nlines\t", r"two\nlines\t"),
        ("caf\u00e9 \u65e5\u672c", "caf\u00e9 \u65e5\u672c"),
        ("\udcff.mp4", r"\udcff.mp4"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
    ],
)
def test_what_is_hidden_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_kept_characters_stay() -> None:
    assert visible("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@given(st.text())
def test_nothing_that_moves_a_cursor_is_left(text: str) -> None:
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for char in visible(text))
