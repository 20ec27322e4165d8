"""Texts that spell a list, an object or bytes, as programs write them into a cell that holds text only."""

from __future__ import annotations

import ast
import json
import warnings

from avbench.sources.text_files import parse_json

# A prompt that is one is shorter; what is longer is not looked into.
_LONGEST = 16 << 10
_ENDS = frozenset(("[]", "{}", "()"))
_BYTES = ("b'", 'b"')


def spelled_value(text: str) -> list[object] | dict[object, object] | bytes | None:
    """What JSON or a literal of Python says; None for a text that is none of a list, an object, a tuple or bytes."""
    body = text.strip()
    if len(body) > _LONGEST or not (body[:1] + body[-1:] in _ENDS or body.startswith(_BYTES)):
        return None
    try:
        value = parse_json(body)
    except ValueError:
        value = _literal(body)
    if isinstance(value, (tuple, set)):
        value = list(value)
    return value if isinstance(value, (list, dict, bytes)) else None


def _literal(text: str) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value: object = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    # Python joins texts that stand side by side, and NumPy writes arrays in that way: ['A dog' 'A cat'].
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        spellings = (repr(value[0]), json.dumps(value[0], ensure_ascii=False))
        return value if text[1:-1].strip().removesuffix(",") in spellings else [*value, *value]
    return value
