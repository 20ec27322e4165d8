"""Fill a view of the leaderboard: cells with marks, ranks within what can be compared, differences to a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal

from avbench.direction import Direction
from avbench.leaderboard.schema import Board, Figure
from avbench.leaderboard.views import Entry, RowSpec, ViewSpec, entries, select
from avbench.pages.table import Column, Rank, rank

_STATUS_MARKS = {"one-source": "1", "derived": "d", "measured": "m"}
LEGEND = {
    "1": "read in one source only; unmarked figures in two or more",
    "d": "not read in this place: it follows from another cell",
    "m": "measured with avbench; all other figures are published",
}


@dataclass(frozen=True)
class Cell:
    """A cell: `text` as printed, with standard deviation and unit where it needs them; an empty text is unknown.

    `marks` are keys of `LEGEND` and of conflicts. `number` is None for what no comparison can use.
    """

    text: str = ""
    number: Decimal | None = None
    marks: tuple[str, ...] = ()
    rank: Rank = ""
    figure: Figure | None = None


@dataclass(frozen=True)
class GridRow:
    """A row with one cell per column; `marks` are conflicts that concern the whole row."""

    label: str
    cells: tuple[Cell, ...]
    group: str = ""
    setting: str = ""
    protocol: str = ""
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """A table to render. `baseline` is the number of a row, or None."""

    spec: ViewSpec
    columns: tuple[Column, ...]
    rows: tuple[GridRow, ...]
    baseline: int | None = None

    @property
    def marks(self) -> list[str]:
        """Every mark in use: those of the legend first, then conflicts in order."""
        used = {mark for row in self.rows for mark in row.marks}
        used |= {mark for row in self.rows for cell in row.cells for mark in cell.marks}
        return [m for m in LEGEND if m in used] + sorted(used - set(LEGEND), key=lambda m: (len(m), m))

    @property
    def figures(self) -> list[Figure]:
        """Every figure that is shown, row by row."""
        return [cell.figure for row in self.rows for cell in row.cells if cell.figure]


def fill(view: ViewSpec, board: Board) -> Grid:
    """Resolve a view of kind "table" or "drift"; it has been checked against this board before."""
    known = entries(board.figures)
    if view.select is not None:
        selected = select(known, view.select)
        specs = [RowSpec(e[0].row, (), _group(e, view)) for e in selected]
        sources: list[list[Entry]] = [[e] for e in selected]
        settings = ["" if "setting" in view.group_by else e[0].setting for e in selected]
    else:
        specs = list(view.rows)
        sources = [[e for selector in row.sources for e in select(known, selector)] for row in view.rows]
        settings = [""] * len(specs)
    flat = [entry for candidates in sources for entry in candidates]
    names = view.columns or quantities_of(flat, board)
    columns = [column_of(name, flat, board) for name in names]
    rows = []
    for spec, candidates, setting in zip(specs, sources, settings, strict=True):
        cells = tuple(cell_of(candidates, name) for name in names)
        if any(cell.text for cell in cells) or view.select is None:
            rows.append(GridRow(spec.label, cells, spec.group, setting, spec.protocol, spec.conflicts))
    ranked = _rank(rows, columns)
    labels = [row.label for row in ranked]
    return Grid(view, tuple(columns), tuple(ranked), labels.index(view.baseline) if view.baseline in labels else None)


def _group(entry: Entry, view: ViewSpec) -> str:
    return ", ".join(value for name in view.group_by if (value := str(getattr(entry[0], name))))


def quantities_of(candidates: Iterable[Entry], board: Board) -> list[str]:
    """Quantities of these entries: known ones in the order of quantities.csv, others after them."""
    quantities = dict.fromkeys(
        f.quantity for entry in candidates for f in entry if f.statistic not in ("std", "setting")
    )
    known = [name for name in board.quantities if name in quantities]
    return known + [name for name in quantities if name not in board.quantities]


def column_of(name: str, candidates: Iterable[Entry], board: Board) -> Column:
    """The column of a quantity; what quantities.csv does not say follows from the figures of these entries.

    It has no direction where neither is better, or where the rows disagree.
    """
    figures = [f for entry in candidates for f in entry if f.quantity == name and f.statistic != "std"]
    quantity = board.quantities.get(name)
    label, unit = (quantity.label, quantity.unit) if quantity else (name, figures[0].unit)
    directions = {quantity.direction} if quantity and quantity.direction != "either" else {f.direction for f in figures}
    direction = Direction.named(directions.pop()) if len(directions) == 1 else Direction.NEITHER
    return Column(name, label, unit=unit, direction=direction, hint=quantity.meaning if quantity else "")


def cell_of(candidates: Sequence[Entry], quantity: str) -> Cell:
    """The cell of a quantity from the first of these entries that has it."""
    for entry in candidates:
        for figure in entry:
            if figure.quantity == quantity and figure.statistic not in ("std", "setting") and figure.value:
                std = next((f.value for f in entry if f.quantity == quantity and f.statistic == "std"), "")
                text = figure.value + (f" ± {std}" if std else "")
                text += " %" if figure.statistic == "relative_change" else ""
                number = figure.number if figure.statistic == "value" else None
                mark = _STATUS_MARKS.get(figure.status, "")
                return Cell(text, number, (*([mark] if mark else []), *figure.conflict), "", figure)
    return Cell()


def _rank(rows: Sequence[GridRow], columns: Sequence[Column]) -> list[GridRow]:
    """Best and second of each column, group by group, where all its numbers share paper and benchmark."""
    ranked = [list(row.cells) for row in rows]
    for index, column in enumerate(columns):
        for group in dict.fromkeys(row.group for row in rows):
            members = [i for i, row in enumerate(rows) if row.group == group and _counts(row.cells[index])]
            scopes = {f.scope for i in members if (f := rows[i].cells[index].figure)}
            if len(scopes) != 1:
                continue
            ranks = rank([rows[i].cells[index].number for i in members], column.direction)
            for i, position in zip(members, ranks, strict=True):
                ranked[i][index] = replace(ranked[i][index], rank=position)
    return [replace(row, cells=tuple(cells)) for row, cells in zip(rows, ranked, strict=True)]


def _counts(cell: Cell) -> bool:
    """Whether a cell takes part in a ranking: a doubtful label does not."""
    return cell.number is not None and cell.figure is not None and cell.figure.status != "conflicting"


@dataclass(frozen=True)
class Difference:
    """A number less the baseline's: absolute, in per cent of the baseline, and whether that is better."""

    absolute: str
    percent: str
    better: bool | None

    @property
    def text(self) -> str:
        """Such as "+1.288 (+63.2 %) ▲"; ▲ is better, ▼ worse."""
        sign = {True: " ▲", False: " ▼", None: ""}[self.better]
        return self.absolute + (f" ({self.percent} %)" if self.percent else "") + sign


def difference(number: Decimal, base: Decimal, direction: Direction) -> Difference:
    """Exact difference of two printed numbers, and per cent with one decimal, halves away from zero.

    `percent` is empty where nothing changed or the baseline is 0, `better` None where the metric has no direction.
    """
    delta = number - base
    if delta == 0:
        return Difference(f"{delta:f}", "", None)
    percent = "" if base == 0 else f"{(100 * delta / abs(base)).quantize(Decimal('0.1'), ROUND_HALF_UP):+}"
    return Difference(f"{delta:+f}", percent, direction.better(delta))


def differences(grid: Grid) -> list[tuple[GridRow, list[Difference | None]]]:
    """For each row but the baseline: differences where both have a number in one scope."""
    if grid.baseline is None:
        return []
    base = grid.rows[grid.baseline]
    rows: list[tuple[GridRow, list[Difference | None]]] = []
    for row in grid.rows:
        pairs = zip(row.cells, base.cells, grid.columns, strict=True)
        cells = [_compare(cell, other, column.direction) for cell, other, column in pairs]
        if row is not base and any(cells):
            rows.append((row, cells))
    return rows


def _compare(cell: Cell, base: Cell, direction: Direction) -> Difference | None:
    if cell.number is None or base.number is None or cell.figure is None or base.figure is None:
        return None
    if cell.figure.scope != base.figure.scope:
        return None
    return difference(cell.number, base.number, direction)
