"""One name in several spellings: Unicode form, case, separators, leading zeros."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# Words, numbers and single signs. Spaces, dots, hyphens and underscores only separate.
_WORD = re.compile(r"[0-9]+|[^\W0-9_]+|[^\w\s.\-]")
# Marks that spreadsheets, lists of Python and Markdown put around a name.
_AROUND = frozenset(("''", '""', "``", "[]", "()", "<>", "‘’", "“”", "«»"))


def composed(text: str) -> str:
    """`text` in Unicode's form NFC. macOS, network shares and archives write NFD, lists are usually NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def without_marks(text: str) -> str:
    """`text` without characters that nobody sees: zero-width spaces, marks of direction, a byte order mark."""
    return text if text.isascii() else "".join(char for char in text if unicodedata.category(char) != "Cf")


def bare(name: str) -> str:
    """A name without invisible characters, and without quotes or brackets around all of it."""
    name = without_marks(name).strip()
    while len(name) > 2 and name[0] + name[-1] in _AROUND:
        name = name[1:-1].strip()
    return name


def caseless(text: str) -> str:
    """`text` in NFC without invisible characters and the difference of upper and lower case."""
    return composed(composed(without_marks(text)).casefold())


def words(name: str) -> tuple[str, ...]:
    """The words and numbers of a name: "Clip_001" and "clip-1" are ("clip", "1"), also in full-width signs."""
    return tuple(
        word.lstrip("0") or "0" if word.isascii() else word for word in _WORD.findall(caseless(with_ascii_digits(name)))
    )


def with_ascii_digits(text: str) -> str:
    """`text` with plain signs for full-width and encircled ones, and 0 to 9 for the digits of other scripts."""
    return text if text.isascii() else "".join(map(_ascii_digit, unicodedata.normalize("NFKC", text)))


def _ascii_digit(char: str) -> str:
    return str(unicodedata.decimal(char)) if char.isdecimal() else char


def tails(path: str, depth: int = 4) -> tuple[str, ...]:
    """The ends of a path with forward slashes, the longest first: "a/b/c", "b/c", "c"."""
    parts: Sequence[str] = [part for part in path.split("/") if part not in ("", ".")][-depth:]
    return tuple("/".join(parts[start:]) for start in range(len(parts)))
