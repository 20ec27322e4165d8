"""Which keys a grid file has, and of which kind; messages about them name file and line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from avbench.errors import UsageError

BUDGETED = ("about", "base", "benchmark", "evaluate", "jobs", "seeds", "tables", "threads", "train", "train_prompts")
_KINDS: Mapping[str, tuple[type, ...]] = {
    "a text": (str,), "a whole number": (int,), "a number": (int, float), "a list": (list,), "a table": (dict,),
}  # fmt: skip
TOP: Mapping[str, str] = {
    "name": "a text", "title": "a text", "about": "a text", "benchmark": "a text", "seeds": "a list",
    "tables": "a list", "jobs": "a whole number", "threads": "a whole number", "trainer": "a table",
    "base": "a table", "train": "a table", "train_prompts": "a text", "evaluate": "a table", "variant": "a table",
    "table": "a table", "metric": "a table", "published": "a table", "cost": "a table", "gpus": "a table",
    "budget": "a table",
}  # fmt: skip
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "trainer": {
        "command": "a list", "launch": "a list", "backbone": "a text", "processes": "a whole number",
        "version": "a text",
    },
    "base": {"path": "a text", "pretrain_steps": "a whole number", "pretrain_seed": "a whole number"},
    "evaluate": {
        "judge": "a text", "samples": "a whole number", "seed": "a whole number", "steps": "a whole number",
        "prompts": "a text", "limit": "a whole number", "parts": "a whole number", "metrics": "a list",
        "rewarded": "a list", "options": "a list",
    },
    "variant.*": {"label": "a text", "recipe": "a text", "set": "a table", "about": "a text"},
    "table.*": {
        "title": "a text", "about": "a text", "rows": "a list", "baseline": "a text", "columns": "a list",
        "published": "a text",
    },
    "rows": {"variant": "a text", "label": "a text", "group": "a text", "published": "a text"},
    "metric.*": {
        "label": "a text", "direction": "a text", "unit": "a text", "about": "a text", "published": "a text",
    },
    "published": {"paper": "a text", "benchmark": "a text", "caveat": "a text"},
    "cost": {
        "start": "a number", "pretrain_step": "a number", "train_rollout": "a number", "clip": "a number",
        "score_clip": "a number", "pretrain_steps": "a number", "own_prompts": "a whole number", "source": "a text",
    },
    "gpus": dict.fromkeys(("pretrain", "train", "evaluate", "generate", "score"), "a number"),
}  # fmt: skip
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Place:
    """A file, for messages with lines."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self._lines = text.splitlines()

    def at(self, key: str) -> str:
        """The file, with the line that has this key, where one has."""
        found = re.compile(rf"(^|[\s{{,.\[\"]){re.escape(key)}(\s*=|[\].\"])")
        number = next((n for n, line in enumerate(self._lines, 1) if found.search(line.partition("#")[0])), None)
        return f"{self.name} line {number}" if number else self.name


def near(word: str, known: Sequence[str]) -> str:
    """ "Did you mean ...?" for an unknown name, or all known ones where none is near."""
    found = get_close_matches(word, known, n=1)
    return f"Did you mean {found[0]}?" if found else f"Known: {', '.join(known)}."


def check_keys(content: Mapping[str, Any], kinds: Mapping[str, str], place: Place, where: str) -> None:
    """Whether keys are known and their values of the right kind.

    Raises:
        UsageError: with file, line and near matches.
    """
    for key, value in content.items():
        if key not in kinds:
            raise UsageError(f"{place.at(key)}: {where}unknown key {key!r}. {near(key, list(kinds))}")
        allowed = _KINDS[kinds[key]]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise UsageError(f"{place.at(key)}: {where}{key} must be {kinds[key]}, got {value!r}.")


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `change`, table by table."""
    merged = dict(base)
    for key, value in change.items():
        nested = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if nested else value
    return merged


def count(table: Mapping[str, Any], key: str, least: int, place: Place) -> int:
    """A number of the table, or the least that is allowed where it is not given.

    Raises:
        UsageError: it is below that.
    """
    value = table.get(key, least)
    if value < least:
        raise UsageError(f"{place.at(key)}: {key} = {value}: must be at least {least}.")
    return int(value)


def texts(table: Mapping[str, Any], key: str, place: Place) -> tuple[str, ...]:
    """A list of texts, empty where it is not given.

    Raises:
        UsageError: it holds something else.
    """
    values = table.get(key, [])
    if not all(isinstance(value, str) for value in values):
        raise UsageError(f"{place.at(key)}: {key} must be a list of texts, got {values!r}.")
    return tuple(values)
