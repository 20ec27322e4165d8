"""What a prompt expects to be shown: columns `prompt_objects` ... `prompt_action`, and VBench's `auxiliary_info`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace

from avbench.clips import Expected
from avbench.errors import UsageError
from avbench.sources.rows import Row

COLUMNS = {f"prompt_{field.name}": field.name for field in fields(Expected)}
AUXILIARY = "auxiliary_info"
# Dimensions of VBench whose auxiliary information says what must be seen, and the key in it.
_DIMENSIONS = {
    "object_class": ("object", "objects"),
    "multiple_objects": ("object", "objects"),
    "color": ("color", "color"),
    "scene": ("scene", "scene"),
    "appearance_style": ("appearance_style", "style"),
}
_RELATION = "spatial_relationship"


def read_expected(row: Row, columns: Mapping[str, str]) -> Expected:
    """What the row's prompt must show.

    Args:
        row: of a manifest or prompt list.
        columns: name in the file of each column of `COLUMNS`, and of `AUXILIARY`, that it has.

    Raises:
        UsageError: a cell that is no text; auxiliary information of another form than VBench's.
    """
    expected = Expected()
    if AUXILIARY in columns and (cell := row.structure(columns[AUXILIARY])):
        expected = _auxiliary(cell, row.location)
    stated = {field: row.text(columns[name]) for name, field in COLUMNS.items() if name in columns}
    return replace(expected, **{field: text for field, text in stated.items() if text is not None})


def _auxiliary(cell: str, location: str) -> Expected:
    """VBench's object {dimension: {key: text}}; for scene and relation once more under the dimension's own name.

    Other benchmarks have a column of this name too (VBench-2.0 writes a word in it): that says nothing here.
    """
    try:
        info = json.loads(cell)
    except ValueError:
        return Expected()
    if not isinstance(info, dict):
        return Expected()
    try:
        return Expected(**_stated(info))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{location}: {AUXILIARY} is {cell:.80}; expected VBench's form, for example "
            '{"color": {"color": "red"}}. Correct the cell or rename the column.'
        ) from error


def _stated(info: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    stated = {}
    for dimension, (key, field) in _DIMENSIONS.items():
        if dimension in info:
            stated[field] = _text(info[dimension], dimension, key)
    if relation := info.get(_RELATION):
        inner = relation.get(_RELATION, relation)
        if not isinstance(inner, Mapping):
            raise ValueError("a relation is an object")
        stated["relation"] = " | ".join(
            _text(inner, _RELATION, key) for key in ("object_a", "relationship", "object_b")
        )
    return stated


def _text(info: Mapping[str, object], dimension: str, key: str) -> str:
    value = info[key]
    if isinstance(value, Mapping):
        value = value[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{dimension}: {key} is no text")
    return value
