"""Text of strangers, made visible."""

from __future__ import annotations

import csv
import html
import io
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from avbench.terminal.text import (
    csv_cell,
    from_csv_cell,
    latex_text,
    markdown_text,
    one_line,
    to_csv,
    visible,
    visible_page,
)


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


# Texts that are rather made of what a format takes for its own.
hostile = st.text(st.one_of(st.sampled_from("=+-@|`*_[]()<>&#~$\\!'\"\t\n\r.1 \x1b\u202e{}%^"), st.characters()))


@given(hostile)
def test_bidirectional_marks_never_stay(text: str) -> None:
    shown = visible_page(text)
    assert not any(
        unicodedata.bidirectional(char) in ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI") for char in shown
    )
    assert visible_page(shown) == shown


@pytest.mark.parametrize(
    "frame", ["| a | b |\n|---|---|\n| {} | x |", "- {}", "# {}", "{}", "| a |\n|---|\n| **{}** |"], ids=str
)
@given(text=hostile)
@example(text="# a")
@example(text="- a")
@example(text="+ a")
@example(text="12. a")
@example(text="1) a")
@example(text="---")
@example(text="-")
@example(text="+")
@example(text="1.")
@example(text="-0.5")
@example(text="0 #")
@example(text="a ## ##")
@example(text="~~a~~ [b](c) <i>d</i> $e$ `f` |")
def test_markdown_shows_what_was_written(frame: str, text: str) -> None:
    if not one_line(text):
        return
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(frame.format(markdown_text(text)))
    shown = re.sub(r"</?(table|thead|tbody|tr|th|td|ul|li|h1|p|strong)>", "", page)
    assert "<" not in shown
    body = page.rsplit("<td>", page.count("<td>"))[1].split("</td>")[0] if "<td>" in page else shown
    assert html.unescape(re.sub("</?strong>", "", body)).strip() == one_line(text)


@given(hostile)
def test_latex_has_no_sign_of_its_own_left(text: str) -> None:
    written = latex_text(text)
    written = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum)\{\}", "", written)
    written = re.sub(r"\$(<|>|\||\\(pm|lambda|uparrow|downarrow|times|cdot))\$", "", written)
    written = re.sub(r"\\[&%$#_{}]|\{[*\[]\}|\\'e", "", written)
    assert not set("\\&%$#_{}~^|<>[*") & set(written)
    assert "\n" not in written


@given(hostile)
def test_a_cell_is_no_formula_and_is_read_back(text: str) -> None:
    cell = csv_cell(text)
    assert not re.match(r"[=+\-@\t\r].", cell) or re.fullmatch(r"[+-]?[\d.]+([eE][+-]?\d+)?%?", cell)
    assert from_csv_cell(cell) == visible(text)


@pytest.mark.parametrize("number", ["-0.3", "+1.5", "-1e-05", "0", "-", "-.5", "-12%", "3.0"])
def test_numbers_stay_numbers(number: str) -> None:
    assert csv_cell(number) == number


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "+ vanilla RL", "-2+3+cmd|' /C calc'!A0", "--1", "＝1+1", "'=1"])
def test_formulas_get_an_apostrophe(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@given(st.lists(st.lists(hostile, min_size=2, max_size=2)))
def test_a_table_of_any_texts_is_read_back(rows: list[list[str]]) -> None:
    written = to_csv(["a", "b"], rows)
    assert written.isprintable() or set(re.findall(r"[^ -~\u00a0-\U0010ffff]", written)) <= {"\n"}
    found = [[from_csv_cell(cell) for cell in row] for row in csv.reader(io.StringIO(written, newline=""))]
    assert found == [["a", "b"], *([visible(cell) for cell in row] for row in rows)]


def test_numbers_and_empty_cells_are_written_as_they_are() -> None:
    assert to_csv(["a", "b", "c"], [[-1.5, None, "x"]]) == "a,b,c\n-1.5,,x\n"
