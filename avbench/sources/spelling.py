"""One name in several spellings: Unicode form, case, separators, leading zeros."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# Words, numbers and single signs. Spaces, dots, hyphens and underscores only separate.
_WORD = re.compile(r"[0-9]+|[^\W0-9_]+|[^\w\s.\-]")


def composed(text: str) -> str:
    """`text` in Unicode's form NFC. macOS, network shares and archives write NFD, lists are usually NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def caseless(text: str) -> str:
    """`text` in NFC without the difference of upper and lower case."""
    return composed(composed(text).casefold())


def words(name: str) -> tuple[str, ...]:
    """The words and numbers of a name: "Clip_001" and "clip-1" are ("clip", "1")."""
    return tuple(word.lstrip("0") or "0" if word.isascii() else word for word in _WORD.findall(caseless(name)))


def tails(path: str, depth: int = 4) -> tuple[str, ...]:
    """The ends of a path with forward slashes, the longest first: "a/b/c", "b/c", "c"."""
    parts: Sequence[str] = [part for part in path.split("/") if part not in ("", ".")][-depth:]
    return tuple("/".join(parts[start:]) for start in range(len(parts)))
