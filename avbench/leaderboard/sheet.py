"""Views and the whole folder as CSV. Unknown cells are empty, and every line says where its numbers come from."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.leaderboard.grid import Grid, GridRow
from avbench.leaderboard.schema import Board, Figure
from avbench.terminal.text import to_csv

_FIGURE_COLUMNS = (
    "provenance", "paper", "arxiv_id", "table", "benchmark", "row", "setting", "backbone", "method", "quantity",
    "metric", "statistic", "value", "unit", "direction", "status", "conflict", "source", "note",
)  # fmt: skip


def grid_csv(grid: Grid) -> str:
    """A view: one line per row, one column per quantity; `marks` as "quantity:mark,mark" with spaces between."""
    names = [column.quantity for column in grid.columns]
    columns = ["group", "row", "setting", "protocol", "provenance", "papers", "benchmarks", *names, "marks"]
    return to_csv(columns, [_line(row, names) for row in grid.rows])


def _line(row: GridRow, names: Sequence[str]) -> list[str]:
    figures = [cell.figure for cell in row.cells if cell.figure]
    marks = [f"{name}:{','.join(c.marks)}" for name, c in zip(names, row.cells, strict=True) if c.marks]
    own = [f"row:{','.join(row.marks)}"] if row.marks else []
    texts = (
        _joined([f.provenance for f in figures]),
        _joined([f.paper for f in figures]),
        _joined([f.benchmark for f in figures]),
    )
    cells = [cell.text for cell in row.cells]
    return [row.group, row.label, row.setting, row.protocol, *texts, *cells, " ".join(own + marks)]


def _joined(texts: Sequence[str]) -> str:
    return " | ".join(dict.fromkeys(texts))


def figures_csv(figures: Sequence[Figure]) -> str:
    """Figures as a long table, published and measured alike, with their provenance in front."""
    return to_csv(_FIGURE_COLUMNS, [[_text(figure, name) for name in _FIGURE_COLUMNS] for figure in figures])


def _text(figure: Figure, name: str) -> str:
    value = getattr(figure, name)
    return " ".join(value) if isinstance(value, tuple) else str(value)


def all_figures_csv(board: Board) -> str:
    """Every figure of the folder."""
    return figures_csv(board.figures)
