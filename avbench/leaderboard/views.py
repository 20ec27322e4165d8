"""Named tables: which rows and columns, in which order. Read from views.toml, compared with what the folder holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from avbench.config import NOT_EMPTY, Must, build, key
from avbench.errors import UsageError, near
from avbench.leaderboard.lines import read_toml
from avbench.leaderboard.schema import Board, Figure, Problem
from avbench.toml import ConfigError, KeyPath, Origin

Selector = Mapping[Literal["provenance", "paper", "table", "benchmark", "row", "setting", "backbone", "method"], str]
"""Fields of figures and what they are to be."""
Entry = tuple[Figure, ...]
"""Figures of one row of a table: same paper, table, benchmark, row and setting."""
Text = Annotated[str, NOT_EMPTY]
_FILE_NAME = Must(
    lambda name: re.fullmatch(r"[a-z][a-z0-9_]*", name) is not None,
    "of small letters, digits and underscores, as it becomes a file name",
)


@dataclass(frozen=True)
class RowSpec:
    """A row of a view: its label, and where its cells come from, the first that has a cell first."""

    label: Text
    sources: tuple[Selector, ...] = key("from")
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
        origin, path: what it was read from, for the lines in messages.

    Raises:
        UsageError: both of `rows` and `select`, or what the kind needs is missing.
    """

    name: Annotated[str, _FILE_NAME]
    title: Text
    kind: Literal["table", "drift", "settings"] = "table"
    about: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[RowSpec, ...] = ()
    select: Selector | None = None
    group_by: tuple[Literal["table", "benchmark", "setting", "backbone"], ...] = ()
    baseline: str = ""
    origin: Origin | None = key(None, default=None, compare=False, repr=False)  # noqa: RUF009 - makes a field
    path: KeyPath = key(None, default=(), compare=False)  # noqa: RUF009 - makes a field

    def line(self, *path: str | int) -> int:
        """The line of views.toml that sets a key of the view, or else the view; 0 where it was not read from a file."""
        whole = (*self.path, *path)
        lines = (self.origin.line(whole[:end]) for end in range(len(whole), 0, -1)) if self.origin else ()
        return next(filter(None, lines), 0)

    def __post_init__(self) -> None:
        if bool(self.rows) == (self.select is not None):
            raise UsageError("needs either rows or select.")
        if self.kind == "settings" and self.select is None:
            raise UsageError("a view of settings needs select.")


@dataclass(frozen=True)
class _File:
    view: tuple[Mapping[str, Any], ...] = ()


def entries(figures: Iterable[Figure]) -> list[Entry]:
    """Figures by the row that they stand in, in order of first appearance."""
    groups: dict[tuple[str, ...], list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.entry_key, []).append(figure)
    return [tuple(group) for group in groups.values()]


def select(all_entries: Iterable[Entry], selector: Selector) -> list[Entry]:
    """Entries whose fields are as the selector says."""
    return [e for e in all_entries if all(getattr(e[0], name) == value for name, value in selector.items())]


def read_views(path: Path, name: str, problems: list[Problem]) -> list[ViewSpec]:
    """The views of a TOML file; what is malformed becomes a problem and is left out."""
    content, origin = read_toml(path, name, problems)
    try:
        listed = build(_File, content, origin).view
    except ConfigError as error:
        problems.append(Problem(name, error.line, "", error.reason))
        return []
    views: list[ViewSpec] = []
    for number, entry in enumerate(listed):
        label = f"view {entry.get('name', number + 1)}"
        try:
            view = replace(build(ViewSpec, entry, origin, ("view", number)), origin=origin, path=("view", number))
        except ConfigError as error:
            problems.append(Problem(name, error.line, label, error.reason))
            continue
        if any(other.name == view.name for other in views):
            line = origin.line(("view", number, "name"))
            problems.append(Problem(name, line, label, "two views have this name. Rename one."))
        else:
            views.append(view)
    return views


def view_problems(views: Sequence[ViewSpec], board: Board) -> list[Problem]:
    """Views that name what the folder does not hold."""
    problems = []
    known = entries(board.figures)
    for view in views:
        for path, message in _missing(view, board, known):
            problems.append(Problem("views.toml", view.line(*path), f"view {view.name}", message))
    return problems


def _missing(view: ViewSpec, board: Board, known: Sequence[Entry]) -> Iterable[tuple[KeyPath, str]]:
    for i, column in enumerate(view.columns):
        if column not in board.quantities:
            yield ("columns", i), f"unknown quantity {column!r}. {near(column, list(board.quantities))}"
    for i, row in enumerate(view.rows):
        for j, selector in enumerate(row.sources):
            count = len(select(known, selector))
            if count != 1:
                yield ("rows", i, "from", j), f"row {row.label}: {dict(selector)} fits {count} rows, expected 1."
        for name in row.conflicts:
            if name not in board.conflicts:
                yield (
                    ("rows", i, "conflicts"),
                    f"row {row.label}: unknown conflict {name!r}. {near(name, board.conflicts)}",
                )
    if view.select is not None and view.select.get("provenance") != "measured" and not select(known, view.select):
        yield ("select",), f"select fits no row: {dict(view.select)}."
    labels = [row.label for row in view.rows] or [entry[0].row for entry in select(known, view.select or {})]
    if view.baseline and view.baseline not in labels:
        yield ("baseline",), f"baseline {view.baseline!r} is the label of no row. {near(view.baseline, labels)}"
