"""Tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avbench.pages.numbers import NONE
from avbench.pages.table import Cell, Column, Table, Tone, for_people, groups, notes_as_footnotes
from avbench.terminal.output import cell as shown_cell
from avbench.terminal.output import show

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text

_STYLES: dict[Tone, str] = {"": "", "good": "green", "bad": "bold red", "warn": "yellow", "quiet": "dim"}


def print_table(table: Table) -> None:
    """Print a table; only command lines do."""
    show(table_terminal(table))


def table_terminal(table: Table) -> RichTable:
    """A table of rich; nothing in it is read as markup of the terminal."""
    from rich import box
    from rich.table import Table as RichTable

    shown = for_people(notes_as_footnotes(table), narrow=True)
    # Sparse, so that 80 columns hold it; what stands below goes into the caption.
    into = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    into.title_justify = into.caption_justify = "left"
    into.title = shown_cell(table.title) if table.title else None
    for column in shown.columns:
        into.add_column(
            shown_cell("" if column.kind == "sign" else column.heading),
            justify="right" if column.kind == "number" else "left",
            no_wrap=column.kind != "text",
            overflow="fold",
        )
    for group, rows in groups(shown):
        if group:
            into.add_row(shown_cell(group), style="bold")
        for row in rows:
            cells = zip(row.cells, shown.columns, strict=True)
            into.add_row(*(_cell(cell, column) for cell, column in cells), style=_STYLES[row.tone])
    into.caption = shown_cell("\n".join(_below(shown))) if _below(shown) else None
    return into


def _cell(cell: Cell, column: Column) -> Text:
    text = shown_cell(_text(cell, column))
    text.stylize(_STYLES[cell.tone])
    return text


def _text(cell: Cell, column: Column) -> str:
    text = cell.text or (NONE if column.kind == "number" else "")
    sign = {"best": " **", "second": " *"}.get(cell.rank, "")
    return text + sign + (f" ({' '.join(cell.marks)})" if cell.marks else "")


def _below(table: Table) -> list[str]:
    lines = [f"** best, * second by the printed value: {table.ranking}"] if table.ranked else []
    lines += [f"({note.mark}) {f'{note.heading} {note.text}'.strip()}" for note in table.footnotes]
    return [*lines, *table.notes]
