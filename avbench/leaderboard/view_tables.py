"""Views as tables, and as pages of Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from avbench.leaderboard.grid import LEGEND, Cell, Difference, Grid, GridRow, differences
from avbench.leaderboard.schema import Board, Figure
from avbench.leaderboard.views import ViewSpec
from avbench.pages import table
from avbench.pages.latex import NEEDS, table_latex
from avbench.pages.markdown import section_markdown
from avbench.pages.table import Column, Footnote, Row, Table
from avbench.terminal.text import latex_text, markdown_text

NO_ROWS = "No rows yet."
_BY = "Written by 'avbench leaderboard build'; do not edit."
_ARROWS = "▲ better, ▼ worse; per cent of the baseline."
_ROW = Column("row", "", "text")


def grid_table(grid: Grid, board: Board) -> Table:
    """A view with its notes."""
    texts = (Column("setting", "setting", "text", optional=True), Column("protocol", "protocol", "text", optional=True))
    rows = [_row(row) for row in grid.rows]
    if grid.spec.kind == "drift" and rows:
        spans = (table.Cell(_span(grid, index)) for index in range(len(grid.columns)))
        label = (table.Cell("lowest to highest"), table.Cell(), table.Cell())
        rows.append(Row((*label, *spans), summary=True))
    sources = "; ".join(papers(grid.figures))
    notes = (f"From: {sources}. Each figure's source is in figures.csv.",) if sources else ()
    footnotes = tuple(footnote(mark, board) for mark in grid.marks)
    return Table(grid.spec.title, (_ROW, *texts, *grid.columns), tuple(rows), notes, footnotes)


def difference_table(grid: Grid) -> Table | None:
    """Differences to the baseline of a view; None without any."""
    compared = differences(grid)
    if not compared:
        return None
    rows = tuple(Row((table.Cell(row.label), *map(difference_cell, cells))) for row, cells in compared)
    return Table(f"Difference to {grid.spec.baseline}", (_ROW, *grid.columns), rows, (_ARROWS,))


def difference_cell(difference: Difference | None) -> table.Cell:
    """A difference in its colour."""
    if difference is None:
        return table.Cell()
    return table.Cell(
        difference.text, tone="" if difference.better is None else "good" if difference.better else "warn"
    )


def settings_table(view: ViewSpec, figures: Sequence[Figure], board: Board) -> Table:
    """A view of kind "settings": one row per setting of a method."""
    columns = (Column("where", "where", "text"), Column("setting", "setting", "text"), Column("value", "value", "text"))
    rows = []
    for figure in figures:
        marks = (*(("1",) if figure.status == "one-source" else ()), *figure.conflict)
        value = table.Cell(figure.value, marks=marks)
        rows.append(Row((table.Cell(figure.row), table.Cell(figure.metric), value)))
    made = Table(view.title, columns, tuple(rows))
    used = sorted(made.marks, key=lambda mark: (mark not in LEGEND, len(mark), mark))
    return replace(made, footnotes=tuple(footnote(mark, board) for mark in used))


def view_markdown(view: ViewSpec, tables: Sequence[Table]) -> str:
    """Tables of a view as a page: heading, what to know, each table with what stands below it."""
    parts = [f"# {markdown_text(view.title)}"] + ([markdown_text(view.about)] if view.about else [])
    if not tables[0].rows:
        return "\n\n".join([*parts, NO_ROWS]) + "\n"
    for number, shown in enumerate(tables):
        parts += [f"## {markdown_text(shown.title)}"] * bool(number) + section_markdown(shown)
    return "\n\n".join(parts) + "\n"


def view_latex(shown: Table) -> str:
    """The table of a view, to `\\input`."""
    if not shown.rows:
        return f"{NEEDS} {_BY}\n% {latex_text(shown.title)}: {NO_ROWS}\n"
    return f"{NEEDS} {_BY}\n{table_latex(shown)}\n"


def footnote(mark: str, board: Board) -> Footnote:
    """The footnote of a mark of the legend, or of a conflict."""
    if mark in LEGEND:
        return Footnote(mark, f"{LEGEND[mark]}.")
    return Footnote(mark, board.conflicts[mark].text, board.conflicts[mark].heading)


def papers(figures: Sequence[Figure]) -> list[str]:
    """The papers of these figures, each once, with arXiv numbers."""
    return list(dict.fromkeys(map(_paper, figures)))


def _paper(figure: Figure) -> str:
    if figure.provenance == "measured":
        return "runs of avbench"
    return figure.paper + (f" (arXiv {figure.arxiv_id})" if figure.arxiv_id != "-" else "")


def shown_cell(cell: Cell) -> table.Cell:
    """A cell as it is printed."""
    return table.Cell(cell.text, cell.rank, cell.marks)


def _row(row: GridRow) -> Row:
    figures = [cell.figure for cell in row.cells if cell.figure]
    provenance = (
        ("provenance", _joined([f.provenance for f in figures])),
        ("papers", _joined([f.paper for f in figures])),
        ("benchmarks", _joined([f.benchmark for f in figures])),
    )
    texts = (table.Cell(row.label, marks=row.marks), table.Cell(row.setting), table.Cell(row.protocol))
    return Row((*texts, *map(shown_cell, row.cells)), row.group, provenance)


def _joined(texts: Sequence[str]) -> str:
    return " | ".join(dict.fromkeys(texts))


def _span(grid: Grid, index: int) -> str:
    numbers = [(cell.number, cell.text) for row in grid.rows if (cell := row.cells[index]).number is not None]
    if len(numbers) < 2:
        return ""
    ordered = sorted(numbers, key=lambda pair: pair[0] or 0)
    return f"{ordered[0][1]} to {ordered[-1][1]}"
