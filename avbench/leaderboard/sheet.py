"""Figures as CSV: every line says where its number comes from."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.leaderboard.schema import Board, Figure
from avbench.terminal.text import to_csv

_FIGURE_COLUMNS = (
    "provenance", "paper", "arxiv_id", "table", "benchmark", "row", "setting", "backbone", "method", "quantity",
    "metric", "statistic", "value", "unit", "direction", "status", "conflict", "source", "note",
)  # fmt: skip


def figures_csv(figures: Sequence[Figure]) -> str:
    """Figures as a long table, published and measured alike, with their provenance in front."""
    return to_csv(_FIGURE_COLUMNS, [[_text(figure, name) for name in _FIGURE_COLUMNS] for figure in figures])


def _text(figure: Figure, name: str) -> str:
    value = getattr(figure, name)
    return " ".join(value) if isinstance(value, tuple) else str(value)


def all_figures_csv(board: Board) -> str:
    """Every figure of the folder."""
    return figures_csv(board.figures)
