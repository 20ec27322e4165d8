"""Tables as GitHub Markdown: best bold, second underlined, marks raised, footnotes below."""

from __future__ import annotations

import re
from collections.abc import Sequence

from avbench.pages.numbers import NONE
from avbench.pages.table import RANKS, Cell, Column, Row, Table, for_people, groups, notes_as_footnotes
from avbench.terminal.text import markdown_text

_RULES = {"text": "---", "word": "---", "name": "---", "number": "--:", "sign": ":-:"}
_NAME = re.compile(r"[\w.+-]+", re.ASCII)


def table_markdown(table: Table) -> str:
    """The rows of a table, without what stands below; no newline at the end."""
    shown = for_people(notes_as_footnotes(table))
    lines = [[_heading(column) for column in shown.columns], [_RULES[column.kind] for column in shown.columns]]
    for group, rows in groups(shown):
        if group:
            lines.append([f"**{markdown_text(group)}**", *[""] * (len(shown.columns) - 1)])
        lines += [_cells(row, shown.columns) for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def below_markdown(table: Table) -> list[str]:
    """What stands below a table: what ranks mean, footnotes, notes; a paragraph or list each."""
    noted = notes_as_footnotes(table)
    parts = []
    if table.ranked:
        parts.append(f"**{RANKS[0]}**, <u>{RANKS[1]}</u> {RANKS[2]}: {markdown_text(table.ranking)}")
    lines = []
    for note in noted.footnotes:
        heading = f"**{markdown_text(note.heading)}** " if note.heading else ""
        lines.append(f"- <sup>{markdown_text(note.mark)}</sup> {heading}{markdown_text(note.text)}")
    return [*parts, *["\n".join(lines)] * bool(lines), *map(markdown_text, noted.notes)]


def section_markdown(table: Table) -> list[str]:
    """A table and what stands below it, as paragraphs."""
    return [table_markdown(table), *below_markdown(table)]


def _heading(column: Column) -> str:
    return "" if column.kind == "sign" else markdown_text(column.heading)


def _cells(row: Row, columns: Sequence[Column]) -> list[str]:
    texts = [_cell(cell, column) for cell, column in zip(row.cells, columns, strict=True)]
    return [f"*{texts[0]}*", *texts[1:]] if row.summary else texts


def _cell(cell: Cell, column: Column) -> str:
    text = markdown_text(cell.text) or (NONE if column.kind == "number" else "")
    if column.kind == "name" and _NAME.fullmatch(cell.text):
        text = f"`{cell.text}`"
    if cell.rank == "best" or cell.tone == "bad":
        text = f"**{text}**"
    elif cell.rank == "second":
        text = f"<u>{text}</u>"
    return text + (f" <sup>{' '.join(map(markdown_text, cell.marks))}</sup>" if cell.marks else "")
