"""Text of strangers (prompts, ids, file names) on its way to a terminal, a Markdown table or a cell."""

from __future__ import annotations

import unicodedata

# Marks that turn the order of what follows around, so that a text reads as another than it is. "Cf" as a whole is too
# much: it holds the joiners that emoji and several scripts need.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_BREAKS = frozenset("\u2028\u2029")


def visible(text: str, *, keep: str = "") -> str:
    """`text` with control characters, bidirectional marks and lone surrogates as backslash escapes.

    Args:
        text: anything, also with surrogates of undecodable bytes of a file name.
        keep: control characters that stay, for example a newline.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char in keep or not _hidden(char) else _escape(char) for char in text)


def _hidden(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs") or char in _BIDI or char in _LINE_BREAKS


def _escape(char: str) -> str:
    return char.encode("ascii", "backslashreplace").decode("ascii") if not char.isascii() else f"\\x{ord(char):02x}"
