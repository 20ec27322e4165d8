"""All figures as one page to sort and filter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from avbench.leaderboard.grid import LEGEND, Grid, cell_of, column_of, fill, quantities_of
from avbench.leaderboard.schema import Board, Figure
from avbench.leaderboard.view_tables import grid_table, shown_cell
from avbench.leaderboard.views import Entry, ViewSpec, entries
from avbench.pages.dots import strip
from avbench.pages.shell import Kind, render, script_data
from avbench.pages.svg import Chart
from avbench.pages.table import Cell, Column, Row, Table
from avbench.pages.table import Kind as TableKind

KIND = Kind("avbench.leaderboard", "page.html.j2", "page.css", ("page.js",))
_FIRST_GROUP, _OTHERS = "JavisBench", "Measured only"
_TEXTS: tuple[tuple[str, str, TableKind], ...] = (
    ("label", "model", "text"), ("backbone", "backbone", "word"), ("method", "method", "word"),
    ("benchmark", "benchmark", "text"), ("where", "where", "text"),
)  # fmt: skip
_SECTIONS = (
    ("table", "Table"), ("slopes", "Slopes"), ("drift", "Protocol drift"), ("marks", "Marks"),
    ("conflicts", "Conflicts"),
)  # fmt: skip


def render_page(board: Board, views: Sequence[ViewSpec]) -> str:
    """The page as text; the same folder gives the same bytes."""
    rows = [entry for entry in entries(board.figures) if any(_shown(figure) for figure in entry)]
    heads = [column_of(name, rows, board) for name in quantities_of(rows, board)]
    first = [entry[0] for entry in rows]
    published = sum(figure.provenance == "published" for figure in board.figures)
    grids = [fill(view, board) for view in views if view.kind == "drift"]
    context = {
        "brand": "avbench leaderboards",
        "title": "Joint audio-video generators: published and measured",
        "about": f"{published:,} published figures, {len(board.measured):,} measured here. Published ones were read, "
        "not measured; unknown cells are –. Papers differ in prompts, sizes and lengths: only differences within one "
        "paper and benchmark mean something. The protocol drift below shows how much.",
        "sections": _SECTIONS,
        "groups": list(dict.fromkeys(_group(head, board) for head in heads)),
        "first_group": _FIRST_GROUP,
        "board": _board_table(rows, heads),
        "baselines": [_baseline(figure) for figure in first],
        "benchmarks": _distinct(figure.benchmark for figure in first),
        "backbones": _distinct(figure.backbone for figure in first),
        "methods": _distinct(figure.method for figure in first),
        "drifts": [(grid.spec, _drift_table(grid, board), drift_strips(grid)) for grid in grids],
        "anchors": {mark: f"mark-{mark}" for mark in LEGEND} | {key: key for key in board.conflicts},
        "legend": LEGEND,
        "conflicts": list(board.conflicts.values()),
        "data": script_data(_data(rows, heads, board)),
    }
    return render(KIND, context)


def drift_strips(grid: Grid) -> list[Chart]:
    """A strip for every column in which two parties or more have a number."""
    strips = []
    for index, column in enumerate(grid.columns):
        cells = [
            (cell.number, cell.text, row.label) for row in grid.rows if (cell := row.cells[index]).number is not None
        ]
        if len(cells) > 1:
            ordered = sorted(cells, key=lambda item: (item[0] or Decimal(0), item[2]))
            strips.append(
                strip(column.heading, [(float(number or 0), f"{who} {text}") for number, text, who in ordered])
            )
    return strips


def _drift_table(grid: Grid, board: Board) -> Table:
    """The view's table with a name for its first column; marks lead to the sections of the page."""
    shown = grid_table(grid, board)
    first, *others = shown.columns
    return replace(shown, columns=(replace(first, label="measured by"), *others), notes=(), footnotes=())


def _shown(figure: Figure) -> bool:
    return figure.statistic not in ("std", "setting")


def _distinct(texts: Iterable[str]) -> list[str]:
    # Names may differ in case alone, and the order of a set is another in each process.
    return sorted({text for text in texts if text}, key=lambda text: (text.casefold(), text))


def _where(figure: Figure) -> str:
    return figure.table if figure.provenance == "measured" else f"{figure.paper}, {figure.table}"


def _baseline(figure: Figure) -> str:
    return f"{_where(figure)}: {figure.row}" + (f" ({figure.setting})" if figure.setting else "")


def _board_table(rows: Sequence[Entry], heads: Sequence[Column]) -> Table:
    texts = (Column(name, label, kind, data=(("key", name),)) for name, label, kind in _TEXTS)
    numbers = (replace(head, data=(("column", str(number)),)) for number, head in enumerate(heads))
    return Table("Figures", (*texts, *numbers), tuple(_row(n, entry, heads) for n, entry in enumerate(rows)))


def _row(number: int, entry: Entry, heads: Sequence[Column]) -> Row:
    figure = entry[0]
    cells = (
        Cell(figure.row, note=figure.setting),
        Cell(figure.backbone or "–"),
        Cell(figure.method or "–"),
        Cell(figure.benchmark),
        Cell(_where(figure), note=figure.provenance),
        *(shown_cell(cell_of([entry], head.key)) for head in heads),
    )
    return Row(cells, data=(("row", str(number)), ("provenance", figure.provenance)))


def _data(rows: Sequence[Entry], heads: Sequence[Column], board: Board) -> dict[str, Any]:
    """What the script needs: numbers, scopes, base rows, provenance. Repeated texts are stored once."""
    texts: dict[str, int] = {}

    def intern(text: str) -> int:
        return texts.setdefault(text, len(texts))

    bases = _base_rows(rows)
    lines = []
    for entry in rows:
        first = entry[0]
        cells: list[list[Any] | None] = []
        for head in heads:
            figure = (cell := cell_of([entry], head.key)).figure
            if figure is None:
                cells.append(None)
            else:
                number = figure.value if cell.number is not None else None
                details = (figure.status, figure.source, figure.note, figure.computation)
                cells.append([number, figure.metric, *map(intern, details)])
        scope = intern("\n".join(first.scope[:3]))
        lines.append({"base": bases[first.entry_key], "scope": scope, "cells": cells})
    columns = [[head.key, head.heading, _group(head, board), head.direction.value] for head in heads]
    return {"columns": columns, "rows": lines, "texts": list(texts)}


def _group(head: Column, board: Board) -> str:
    known = board.quantities.get(head.key)
    return known.group if known else _OTHERS


def _base_rows(rows: Sequence[Entry]) -> dict[tuple[str, ...], int]:
    """For each row the number of its base model's row: same scope and backbone, nothing done to it.

    One in the same table comes before one elsewhere in the paper; a base model is its own.
    """
    near: dict[tuple[str, ...], int] = {}
    for number, entry in enumerate(rows):
        figure = entry[0]
        if figure.method == "base":
            near.setdefault((*figure.scope, figure.backbone), number)
            near.setdefault((*figure.scope, figure.backbone, figure.table), number)
    bases = {}
    for number, entry in enumerate(rows):
        figure = entry[0]
        key = (*figure.scope, figure.backbone)
        other = near.get((*key, figure.table), near.get(key, -1))
        bases[figure.entry_key] = number if figure.method == "base" else other
    return bases
