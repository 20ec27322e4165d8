"""What was asked to be said and what was heard, differences marked, from the detail of a `wer` or `cer` row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from avbench.report.details import number, parse

# A long clip has thousands of words, and the page holds those of every clip.
MOST_WORDS = 400
_KINDS = frozenset({"equal", "substitute", "delete", "insert"})


def spoken_words(detail: str) -> dict[str, Any] | None:
    """Edits and words of one clip, as report.js shows them.

    Args:
        detail: JSON text of a `wer` row: `reference` and `hypothesis`, words separated by blanks; `operations`, each
            (kind, first and last + 1 of the reference, the same of the hypothesis); `words` with text, start and end in
            seconds; `speech`, whether anybody speaks.

    Returns:
        `edits` as [kind, asked, heard], `words` as [text, start] and `speech`; None where `detail` holds no usable
        edits.
    """
    return _spoken(parse(detail), between=" ")


def spoken_characters(detail: str) -> dict[str, Any] | None:
    """The same of a `cer` row in a language that is written without blanks; None for other languages.

    Args:
        detail: as of a `wer` row, with `form` as "split" and each character a word of its own.
    """
    content = parse(detail)
    return _spoken(content, between="") if content.get("form") == "split" else None


def _spoken(content: Mapping[str, Any], between: str) -> dict[str, Any] | None:
    asked, heard = (str(content.get(name) or "").split() for name in ("reference", "hypothesis"))
    edits = [_edit(operation, asked, heard, between) for operation in _list(content, "operations")[:MOST_WORDS]]
    if not edits or None in edits:
        return None
    words = [_word(word) for word in _list(content, "words")[:MOST_WORDS]]
    return {"edits": edits, "words": [word for word in words if word], "speech": content.get("speech") is not False}


def _edit(operation: object, asked: list[str], heard: list[str], between: str) -> list[str] | None:
    if not isinstance(operation, list) or len(operation) != 5 or operation[0] not in _KINDS:
        return None
    bounds = operation[1:]
    if not all(type(bound) is int and bound >= 0 for bound in bounds):
        return None
    return [operation[0], between.join(asked[bounds[0] : bounds[1]]), between.join(heard[bounds[2] : bounds[3]])]


def _word(word: object) -> list[Any] | None:
    if not isinstance(word, dict) or not isinstance(word.get("text"), str):
        return None
    start = number(word.get("start"))
    return [word["text"], start] if start is not None and start >= 0 else None


def _list(content: Mapping[str, Any], name: str) -> list[Any]:
    values = content.get(name)
    return values if isinstance(values, list) else []
