"""All tables as one self-contained HTML page: no network, no server, safe with any text of a table."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from avbench.leaderboard.drift import drift_strips
from avbench.leaderboard.grid import LEGEND, NONE, Column, cell_of, column_of, fill, found_quantities
from avbench.leaderboard.schema import Board, Figure
from avbench.leaderboard.views import Entry, ViewSpec, entries
from avbench.report.clip_data import script_json
from avbench.terminal.text import visible_page

_FIRST_GROUP, _OTHERS = "JavisBench", "Measured only"


def render_page(board: Board, views: Sequence[ViewSpec]) -> str:
    """The page as text; the same folder gives the same bytes."""
    style = (files("avbench.report") / "report.css").read_text(encoding="utf-8") + _asset("page.css")
    script = _asset("page.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_asset("templates/page.html.j2"))
    page = template.render(
        policy=_policy(style, script),
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704 - our own file
        **_context(board, views),
    )
    return visible_page(page)


def _context(board: Board, views: Sequence[ViewSpec]) -> dict[str, Any]:
    rows = [entry for entry in entries(board.figures) if any(_shown(figure) for figure in entry)]
    heads = _heads(rows, board)
    grids = [fill(view, board) for view in views if view.kind == "drift"]
    first = [entry[0] for entry in rows]
    return {
        "heads": heads,
        "meanings": [board.quantities[h.quantity].meaning if h.quantity in board.quantities else "" for h in heads],
        "groups": list(dict.fromkeys(_group(head, board) for head in heads)),
        "first_group": _FIRST_GROUP,
        "rows": [_row(entry, heads) for entry in rows],
        "benchmarks": _distinct(figure.benchmark for figure in first),
        "backbones": _distinct(figure.backbone for figure in first),
        "methods": _distinct(figure.method for figure in first),
        "drifts": [(grid, drift_strips(grid)) for grid in grids],
        "dash": NONE,
        "legend": LEGEND,
        "conflicts": list(board.conflicts.values()),
        "n_published": sum(figure.provenance == "published" for figure in board.figures),
        "n_measured": len(board.measured),
        "data": Markup(script_json(_data(rows, heads, board))),  # noqa: S704 - escaped by script_json
    }


def _shown(figure: Figure) -> bool:
    return figure.statistic not in ("std", "setting")


def _distinct(texts: Iterable[str]) -> list[str]:
    return sorted({text for text in texts if text}, key=str.casefold)


def _heads(rows: Sequence[Entry], board: Board) -> list[Column]:
    return [column_of(name, rows, board) for name in found_quantities(rows, board)]


def _row(entry: Entry, heads: Sequence[Column]) -> dict[str, Any]:
    figure = entry[0]
    return {
        "label": figure.row,
        "setting": figure.setting,
        "backbone": figure.backbone,
        "method": figure.method,
        "benchmark": figure.benchmark,
        "provenance": figure.provenance,
        "where": figure.table if figure.provenance == "measured" else f"{figure.paper}, {figure.table}",
        "cells": [cell_of([entry], head.quantity) for head in heads],
    }


def _data(rows: Sequence[Entry], heads: Sequence[Column], board: Board) -> dict[str, Any]:
    """What the script needs: numbers, scopes, base rows, provenance. Repeated texts are stored once."""
    texts: dict[str, int] = {}

    def intern(text: str) -> int:
        return texts.setdefault(text, len(texts))

    bases = _base_rows(rows)
    found = []
    for entry in rows:
        first = entry[0]
        cells: list[list[Any] | None] = []
        for head in heads:
            figure = (cell := cell_of([entry], head.quantity)).figure
            if figure is None:
                cells.append(None)
            else:
                number = figure.value if cell.number is not None else None
                facts = (figure.status, figure.source, figure.note, figure.computation)
                cells.append([number, figure.metric, *map(intern, facts)])
        scope = intern("\n".join(first.scope[:3]))
        found.append({"base": bases[first.entry_key], "scope": scope, "cells": cells})
    columns = [[head.quantity, head.heading, _group(head, board), head.direction] for head in heads]
    return {"columns": columns, "rows": found, "texts": list(texts)}


def _group(head: Column, board: Board) -> str:
    known = board.quantities.get(head.quantity)
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
    found = {}
    for number, entry in enumerate(rows):
        figure = entry[0]
        key = (*figure.scope, figure.backbone)
        other = near.get((*key, figure.table), near.get(key, -1))
        found[figure.entry_key] = number if figure.method == "base" else other
    return found


def _asset(name: str) -> str:
    return (files("avbench.leaderboard") / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Content security policy: this script, this style sheet, nothing else, no network."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")

    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'sha256-{digest(script)}'",
            f"style-src 'sha256-{digest(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
