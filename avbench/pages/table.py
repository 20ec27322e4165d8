"""A table as a value, which each format has one renderer for: columns, rows, ranks, marks, and what stands below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from string import ascii_lowercase
from typing import Literal

from markupsafe import Markup

from avbench.direction import Direction

Kind = Literal["text", "word", "name", "number", "sign"]
"""Texts may wrap, words may not, names are words of the code; numbers stand on the right; signs hide their heading."""
Rank = Literal["", "best", "second"]
Tone = Literal["", "good", "bad", "warn", "quiet"]
Data = tuple[tuple[str, str], ...]
"""Names and values that the page's script reads; other formats leave them out."""
RANKS = ("Best", "second", "by the printed value")


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        key: its name in CSV.
        label: its name for people.
        kind: what its cells hold.
        unit: "1" or empty for a plain number.
        direction: which way its numbers are better.
        hint: shown on hover.
        optional: left out of what people read where all its cells are empty.
        detail: left out on terminals, which are 80 columns wide.
        data: for the page's script.
    """

    key: str
    label: str
    kind: Kind = "number"
    unit: str = ""
    direction: Direction = Direction.NEITHER
    hint: str = ""
    optional: bool = False
    detail: bool = False
    data: Data = ()

    @property
    def heading(self) -> str:
        """Label, arrow and unit, such as "DeSync ↓ (s)"."""
        arrow = "" if self.direction is Direction.NEITHER else self.direction.arrow
        unit = f"({self.unit})" if self.unit not in ("", "1") else ""
        return " ".join(part for part in (self.label, arrow, unit) if part)


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        text: as printed; an empty number is unknown, and shown as a dash.
        rank: its rank among the numbers of its column.
        marks: keys of the table's footnotes.
        note: a remark on this cell alone, such as why it has no interval.
        tone: how it is coloured; "bad" is emphasised where there is no colour.
        hint, link, drawing: on pages only: shown on hover, where it leads, what is drawn after the text.
    """

    text: str = ""
    rank: Rank = ""
    marks: tuple[str, ...] = ()
    note: str = ""
    tone: Tone = ""
    hint: str = ""
    link: str = ""
    drawing: Markup | None = None


@dataclass(frozen=True)
class Row:
    """A row with one cell for each column.

    Attributes:
        group: heading under which it stands, with the rows beside it that have the same.
        provenance: names and texts that say where its numbers are from; CSV has a column for each.
        summary: whether it sums up the rows above.
        tone: its colour.
        anchor: its id on a page. data: for the page's script.
    """

    cells: tuple[Cell, ...]
    group: str = ""
    provenance: Data = ()
    summary: bool = False
    tone: Tone = ""
    anchor: str = ""
    data: Data = ()


def row_of(texts: Iterable[str], group: str = "") -> Row:
    """A row of plain texts."""
    return Row(tuple(map(Cell, texts)), group)


@dataclass(frozen=True)
class Footnote:
    """What a mark means."""

    mark: str
    text: str
    heading: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: what it is.
        columns: the first one names the rows.
        rows: in order; groups lie together.
        notes: paragraphs below.
        footnotes: what the marks mean, in order.
        ranking: the text after "Best, second by the printed value:", where there are ranks.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    footnotes: tuple[Footnote, ...] = ()
    ranking: str = "neither says that a gap is more than noise."

    @property
    def ranked(self) -> bool:
        """Whether any cell has a rank."""
        return any(cell.rank for row in self.rows for cell in row.cells)

    @property
    def marks(self) -> set[str]:
        """Every mark in use."""
        return {mark for row in self.rows for cell in row.cells for mark in cell.marks}


def groups(table: Table) -> Iterator[tuple[str, list[Row]]]:
    """Rows that lie together under one heading, with that heading; empty for none."""
    for start, row in enumerate(table.rows):
        if start == 0 or table.rows[start - 1].group != row.group:
            members = [row]
            for other in table.rows[start + 1 :]:
                if other.group != row.group:
                    break
                members.append(other)
            yield row.group, members


def for_people(table: Table, *, narrow: bool = False) -> Table:
    """The table without the columns that nobody would miss: empty optional ones, and details where it is narrow."""
    kept = [
        index
        for index, column in enumerate(table.columns)
        if not (column.optional and not any(row.cells[index].text for row in table.rows))
        and not (narrow and column.detail)
    ]
    if len(kept) == len(table.columns):
        return table
    rows = tuple(replace(row, cells=tuple(row.cells[index] for index in kept)) for row in table.rows)
    return replace(table, columns=tuple(table.columns[index] for index in kept), rows=rows)


def notes_as_footnotes(table: Table) -> Table:
    """The table with the remarks on single cells as footnotes "a", "b" and so on; the same remark has one letter."""
    notes = dict.fromkeys(cell.note for row in table.rows for cell in row.cells if cell.note)
    used = {footnote.mark for footnote in table.footnotes} | table.marks
    letters = dict(zip(notes, (letter for letter in _letters() if letter not in used), strict=False))

    def marked(cell: Cell) -> Cell:
        return replace(cell, note="", marks=(*cell.marks, letters[cell.note])) if cell.note else cell

    rows = tuple(replace(row, cells=tuple(map(marked, row.cells))) for row in table.rows)
    extra = tuple(Footnote(letter, note) for note, letter in letters.items())
    return replace(table, rows=rows, footnotes=(*table.footnotes, *extra))


def _letters() -> Iterator[str]:
    yield from ascii_lowercase
    number = 1
    while True:
        yield f"n{number}"
        number += 1


def rank(numbers: Sequence[Decimal | float | None], direction: Direction) -> list[Rank]:
    """Best and second of numbers; equal ones share a rank. Below two different ones there are none."""
    known = {number for number in numbers if number is not None}
    if direction is Direction.NEITHER or len(known) < 2:
        return [""] * len(numbers)
    first, second, *_ = sorted(known, reverse=direction is Direction.HIGHER)
    return ["best" if number == first else "second" if number == second else "" for number in numbers]
