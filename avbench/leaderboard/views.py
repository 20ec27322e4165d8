"""Named tables: which rows and columns, in which order. Read from views.toml, compared with what the folder holds."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.errors import near
from avbench.leaderboard.schema import Board, Figure, Problem
from avbench.leaderboard.tables import read_text

KINDS = ("table", "drift", "settings")
_FIELDS = ("provenance", "paper", "table", "benchmark", "row", "setting", "backbone", "method")
_GROUPS = ("table", "benchmark", "setting", "backbone")
_VIEW_KEYS: Mapping[str, type] = {
    "name": str, "kind": str, "title": str, "about": str, "columns": list, "rows": list, "select": dict,
    "group_by": list, "baseline": str,
}  # fmt: skip
_ROW_KEYS: Mapping[str, type] = {"label": str, "group": str, "protocol": str, "conflicts": list, "from": list}
_TYPE_NAMES: Mapping[type, str] = {str: "a text", list: "a list", dict: "a table"}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
Selector = Mapping[str, str]
Entry = tuple[Figure, ...]
"""Figures of one row of a table: same paper, table, benchmark, row and setting."""


@dataclass(frozen=True)
class RowSpec:
    """A row of a view: its label, and where its cells come from, the first that has a cell first."""

    label: str
    sources: tuple[Selector, ...]
    group: str = ""
    protocol: str = ""
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ViewSpec:
    """A named table. Either `rows`, with `columns`, or `select` for whole tables.

    Attributes:
        name: file name of its renderings.
        kind: "table"; "drift" for one model under several protocols; "settings" for texts instead of numbers.
        title, about: heading and what to know.
        columns: quantities, in order; empty for those that the rows have, in order of first appearance.
        group_by: fields of figures that make groups of rows, with `select`.
        baseline: label of the row that differences are taken from; empty for none.
    """

    name: str
    kind: str
    title: str
    about: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[RowSpec, ...] = ()
    select: Selector | None = None
    group_by: tuple[str, ...] = ()
    baseline: str = ""


def entries(figures: Iterable[Figure]) -> list[Entry]:
    """Figures by the row that they stand in, in order of first appearance."""
    found: dict[tuple[str, ...], list[Figure]] = {}
    for figure in figures:
        found.setdefault(figure.entry_key, []).append(figure)
    return [tuple(group) for group in found.values()]


def select(all_entries: Iterable[Entry], selector: Selector) -> list[Entry]:
    """Entries whose fields are as the selector says."""
    return [e for e in all_entries if all(getattr(e[0], name) == value for name, value in selector.items())]


def read_views(path: Path, name: str, problems: list[Problem]) -> list[ViewSpec]:
    """The views of a TOML file; what is malformed becomes a problem and is left out."""
    text = read_text(path, name, problems)
    try:
        content = tomllib.loads(text) if text is not None else {}
    except (ValueError, RecursionError) as error:
        problems.append(Problem(name, 0, "", f"not TOML: {error}."))
        return []
    found: list[ViewSpec] = []
    listed = content.get("view", [])
    if not isinstance(listed, list):
        problems.append(Problem(name, 0, "", "view is to be a list of tables: [[view]]."))
        return []
    for number, entry in enumerate(listed, 1):
        place = f"view {entry.get('name', number) if isinstance(entry, Mapping) else number}"
        message = _malformed(entry)
        if message is None and any(view.name == entry["name"] for view in found):
            message = "two views have this name. Rename one."
        if message is not None:
            problems.append(Problem(name, 0, place, message))
        else:
            found.append(_view(entry))
    return found


def _malformed(entry: Any) -> str | None:
    """What is wrong with the form of a view; None for nothing."""
    message = _wrong_keys(entry, _VIEW_KEYS)
    if message is not None:
        return message
    for key in ("name", "title"):
        if not entry.get(key):
            return f"needs a {key}."
    if not _NAME.fullmatch(entry["name"]):
        return f"name {entry['name']!r}: use small letters, digits and underscores; it becomes a file name."
    if entry.get("kind", "table") not in KINDS:
        return f"unknown kind {entry['kind']!r}. {near(str(entry['kind']), KINDS)}"
    if ("rows" in entry) == ("select" in entry):
        return "needs either rows or select."
    if entry.get("kind") == "settings" and "select" not in entry:
        return "a view of settings needs select."
    for key in entry.get("group_by", []):
        if key not in _GROUPS:
            return f"unknown field {key!r} in group_by. {near(str(key), _GROUPS)}"
    return _malformed_selector(entry.get("select", {})) or _malformed_rows(entry.get("rows", []))


def _wrong_keys(entry: Any, known: Mapping[str, type]) -> str | None:
    """What is wrong with the keys of a table or the types of their values."""
    if not isinstance(entry, Mapping):
        return "expected a table."
    content: Mapping[str, Any] = entry
    for key, value in content.items():
        if key not in known:
            return f"unknown key {key!r}. {near(key, list(known))}"
        if not isinstance(value, known[key]):
            return f"{key} is to be {_TYPE_NAMES[known[key]]}."
        if key in ("columns", "group_by", "conflicts") and not all(isinstance(item, str) for item in content[key]):
            return f"{key} is to be a list of texts."
    return None


def _malformed_rows(rows: Sequence[Any]) -> str | None:
    for number, row in enumerate(rows, 1):
        message = _wrong_keys(row, _ROW_KEYS)
        if message is None and (not row.get("label") or "from" not in row):
            message = "needs a label and from."
        for selector in [] if message else row["from"]:
            message = message or _malformed_selector(selector)
        if message is not None:
            return f"row {number}: {message}"
    return None


def _malformed_selector(selector: Any) -> str | None:
    if not isinstance(selector, Mapping):
        return "expected a table such as { paper = ..., table = ..., row = ... }."
    for key, value in selector.items():
        if key not in _FIELDS:
            return f"unknown field {key!r}. {near(key, _FIELDS)}"
        if not isinstance(value, str):
            return f"{key} is to be a text."
    return None


def _view(entry: Mapping[str, Any]) -> ViewSpec:
    rows = tuple(
        RowSpec(
            row["label"],
            tuple(row["from"]),
            row.get("group", ""),
            row.get("protocol", ""),
            tuple(row.get("conflicts", ())),
        )
        for row in entry.get("rows", [])
    )
    return ViewSpec(
        name=entry["name"],
        kind=entry.get("kind", "table"),
        title=entry["title"],
        about=entry.get("about", ""),
        columns=tuple(entry.get("columns", ())),
        rows=rows,
        select=entry.get("select"),
        group_by=tuple(entry.get("group_by", ())),
        baseline=entry.get("baseline", ""),
    )


def view_problems(views: Sequence[ViewSpec], board: Board) -> list[Problem]:
    """Views that name what the folder does not hold."""
    found = []
    known = entries(board.figures)
    for view in views:
        for message in _missing(view, board, known):
            found.append(Problem("views.toml", 0, f"view {view.name}", message))
    return found


def _missing(view: ViewSpec, board: Board, known: Sequence[Entry]) -> Iterable[str]:
    for column in view.columns:
        if column not in board.quantities:
            yield f"unknown quantity {column!r}. {near(column, list(board.quantities))}"
    for row in view.rows:
        for selector in row.sources:
            count = len(select(known, selector))
            if count != 1:
                yield f"row {row.label}: {dict(selector)} fits {count} rows, expected 1."
        for key in row.conflicts:
            if key not in board.conflicts:
                yield f"row {row.label}: unknown conflict {key!r}; conflicts.toml has {', '.join(board.conflicts)}."
    if view.select is not None and view.select.get("provenance") != "measured" and not select(known, view.select):
        yield f"select fits no row: {dict(view.select)}."
    labels = [row.label for row in view.rows] or [entry[0].row for entry in select(known, view.select or {})]
    if view.baseline and view.baseline not in labels:
        yield f"baseline {view.baseline!r} is the label of no row. {near(view.baseline, labels)}"
