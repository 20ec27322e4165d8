"""Text of strangers (prompts, ids, file names) on its way to a terminal, a page, Markdown, LaTeX or a cell."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any

# Control characters, line breaks, halves of characters, what XML cannot hold, and marks that turn the order of what
# follows around, so that a text reads as another than it is. The whole category "Cf" would be too much: it holds the
# joiners that emoji and several scripts need.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_MARKDOWN = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {sign: f"\\{sign}" for sign in "\\|`*_[]~$"})
_MARKDOWN_START = re.compile(r"^(?:(#|[-+](?=[\s-]|$))|(\d+)([.)])(?=\s|$))")
# Such signs at the end of a heading would close it.
_MARKDOWN_END = re.compile(r" (#+)$")
_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$",
        "|": r"$|$", "±": r"$\pm$", "λ": r"$\lambda$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--",
        "×": r"$\times$", "é": r"\'e", '"': "''", "*": "{*}", "[": "{[}", "·": r"$\cdot$",
    }
)  # fmt: skip
# What spreadsheets take for a formula, and our own mark before it, so that a cell that has one already gets another.
_FORMULA = re.compile(r"'*[=+\-@＝＋－＠].")
_QUOTED = re.compile(r"'+[=+\-@＝＋－＠].")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?%?")


def visible(text: str, *, keep: str = "") -> str:
    """`text` with control characters, bidirectional marks and lone surrogates as backslash escapes.

    Args:
        text: anything, also with surrogates of undecodable bytes of a file name.
        keep: control characters that stay, for example a newline.
    """
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def _escape(char: str) -> str:
    if not char.isascii():
        return char.encode("ascii", "backslashreplace").decode("ascii")
    return _SHORT.get(char) or f"\\x{ord(char):02x}"


def visible_page(page: str) -> str:
    """A page or drawing in which control characters and the like, which are never our own, are escapes."""
    return visible(page, keep="\n\t")


def one_line(text: str) -> str:
    """`text` on one line, as words with single spaces between them, and visible."""
    return visible(" ".join(text.split()))


def markdown_text(text: str) -> str:
    """Text that GitHub Markdown shows as it is, on one line: in a table, a list, a heading or a paragraph."""
    escaped = one_line(text).translate(_MARKDOWN)
    return _MARKDOWN_END.sub(r" \\\1", _MARKDOWN_START.sub(r"\2\\\1\3", escaped))


def latex_text(text: str) -> str:
    """Text that LaTeX prints as it is, on one line: in a table, a paragraph or a comment."""
    return one_line(text).translate(_LATEX)


def csv_cell(text: str) -> str:
    """A cell that no spreadsheet runs: an apostrophe before what would be a formula; numbers stay numbers.

    `from_csv_cell` gives the visible text back.
    """
    shown = visible(text)
    return f"'{shown}" if _FORMULA.match(shown) and not _NUMBER.fullmatch(shown) else shown


def from_csv_cell(cell: str) -> str:
    """The text of a cell that `csv_cell` wrote."""
    return cell[1:] if _QUOTED.match(cell) else cell


def to_csv(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A CSV file with a header and line feeds, its texts by the rule of `csv_cell`."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    for row in (columns, *rows):
        writer.writerow([csv_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return out.getvalue()


def shorten(text: str, limit: int = 100) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
