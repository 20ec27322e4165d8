"""Views as LaTeX: a booktabs tabular to `\\input`, best bold, second underlined, marks raised, footnotes below."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.leaderboard.grid import LEGEND, Cell, Grid
from avbench.leaderboard.markdown import NO_ROWS, papers
from avbench.leaderboard.schema import Board, Figure
from avbench.leaderboard.views import ViewSpec
from avbench.terminal.text import latex_text

_NEEDS = "% Needs \\usepackage{booktabs}. Written by 'avbench leaderboard build'; do not edit."


def grid_latex(grid: Grid, board: Board) -> str:
    """A view as a tabular with its notes."""
    if not grid.rows:
        return f"{_NEEDS}\n% {latex_text(grid.spec.title)}: {NO_ROWS}\n"
    extra = [name for name in ("setting", "protocol") if any(getattr(row, name) for row in grid.rows)]
    width = 1 + len(extra) + len(grid.columns)
    heads = ["", *(name.capitalize() for name in extra), *(latex_text(column.heading) for column in grid.columns)]
    lines = [_line(heads), r"\midrule"]
    group = ""
    for row in grid.rows:
        if row.group != group:
            lines += [r"\addlinespace"] * bool(group)
            group = row.group
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{latex_text(group)}}}}} \\")
        texts = [latex_text(getattr(row, name)) for name in extra]
        lines.append(_line([latex_text(row.label) + _raised(row.marks), *texts, *map(_cell, row.cells)]))
    notes = [f"{_raised([mark])}~{latex_text(_note(mark, board))}" for mark in grid.marks]
    notes.append(latex_text("From: " + "; ".join(papers(grid.figures))) + ".")
    columns = "l" * (1 + len(extra)) + "r" * len(grid.columns)
    return _frame(grid.spec, columns, lines, notes)


def settings_latex(view: ViewSpec, figures: Sequence[Figure], board: Board) -> str:
    """A view of kind "settings" as a tabular of texts."""
    lines = [_line(["Where", "Setting", "Value"]), r"\midrule"]
    lines += [
        _line([latex_text(f.row), latex_text(f.metric), latex_text(f.value) + _raised(f.conflict)]) for f in figures
    ]
    marks = sorted({mark for f in figures for mark in f.conflict}, key=lambda mark: (len(mark), mark))
    return _frame(view, "lll", lines, [f"{_raised([mark])}~{latex_text(_note(mark, board))}" for mark in marks])


def _note(mark: str, board: Board) -> str:
    if mark in LEGEND:
        return f"{LEGEND[mark]}."
    return f"{board.conflicts[mark].heading} {board.conflicts[mark].text}"


def _frame(view: ViewSpec, columns: str, lines: Sequence[str], notes: Sequence[str]) -> str:
    head = [_NEEDS, f"% {latex_text(view.title)}", rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule"]
    # No blank lines: a note is a line of the paragraph below the table.
    below = [r"\par\smallskip", r"{\footnotesize\raggedright", *(f"{note}\\par" for note in notes), "}"]
    return "\n".join([*head, *lines, r"\bottomrule", r"\end{tabular}", *below]) + "\n"


def _cell(cell: Cell) -> str:
    if not cell.text:
        return "--"
    text = latex_text(cell.text)
    if cell.rank:
        text = rf"\textbf{{{text}}}" if cell.rank == "best" else rf"\underline{{{text}}}"
    return text + _raised(cell.marks)


def _raised(marks: Sequence[str]) -> str:
    return rf"$^{{\mathrm{{{','.join(marks)}}}}}$" if marks else ""


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
