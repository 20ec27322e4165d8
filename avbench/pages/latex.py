"""Tables as LaTeX: a booktabs tabular to `\\input`, best bold, second underlined, marks raised, footnotes below."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.pages.table import RANKS, Cell, Column, Footnote, Row, Table, for_people, groups, notes_as_footnotes
from avbench.terminal.text import latex_text

NEEDS = r"% Needs \usepackage{booktabs}."


def table_latex(table: Table) -> str:
    """A table with what stands below it; no newline at the end."""
    shown = for_people(notes_as_footnotes(table))
    kinds = "".join({"number": "r", "sign": "c"}.get(column.kind, "l") for column in shown.columns)
    lines = [_line([_heading(column) for column in shown.columns]), r"\midrule"]
    for number, (group, rows) in enumerate(groups(shown)):
        if group:
            lines += [r"\addlinespace"] * bool(number)
            lines.append(rf"\multicolumn{{{len(kinds)}}}{{l}}{{\textit{{{latex_text(group)}}}}} \\")
        lines += [_line(_cells(row, shown.columns)) for row in rows]
    top = [f"% {latex_text(table.title)}", rf"\begin{{tabular}}{{@{{}}{kinds}@{{}}}}", r"\toprule"]
    return "\n".join([*top, *lines, r"\bottomrule", r"\end{tabular}", *_below(shown)])


def paragraphs_latex(texts: Sequence[str]) -> str:
    """Small paragraphs below a table, from plain texts; no newline at the end."""
    return "\n".join(_paragraphs([latex_text(text) for text in texts]))


def _paragraphs(texts: Sequence[str]) -> list[str]:
    # No blank lines: a note is a line of the paragraph below the table.
    return [r"{\footnotesize\raggedright", *(f"{text}\\par" for text in texts), "}"] if texts else []


def _below(table: Table) -> list[str]:
    texts = []
    if table.ranked:
        texts.append(rf"\textbf{{{RANKS[0]}}}, \underline{{{RANKS[1]}}} {RANKS[2]}: {latex_text(table.ranking)}")
    texts += [*map(_footnote, table.footnotes), *map(latex_text, table.notes)]
    return [r"\par\smallskip", *_paragraphs(texts)] if texts else []


def _footnote(note: Footnote) -> str:
    return f"{_raised([note.mark])}~{latex_text(f'{note.heading} {note.text}'.strip())}"


def _heading(column: Column) -> str:
    return "" if column.kind == "sign" else latex_text(column.heading)


def _cells(row: Row, columns: Sequence[Column]) -> list[str]:
    texts = [_cell(cell, column) for cell, column in zip(row.cells, columns, strict=True)]
    return [rf"\textit{{{texts[0]}}}", *texts[1:]] if row.summary else texts


def _cell(cell: Cell, column: Column) -> str:
    text = latex_text(cell.text) or ("--" if column.kind == "number" else "")
    if cell.rank == "best" or cell.tone == "bad":
        text = rf"\textbf{{{text}}}"
    elif cell.rank == "second":
        text = rf"\underline{{{text}}}"
    return text + _raised(cell.marks)


def _raised(marks: Sequence[str]) -> str:
    return rf"$^{{\mathrm{{{','.join(map(latex_text, marks))}}}}}$" if marks else ""


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
