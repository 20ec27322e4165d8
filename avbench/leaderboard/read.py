"""Read a leaderboards folder: its contents as far as they can be read, and all problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from avbench.config import build
from avbench.errors import UsageError
from avbench.leaderboard.lines import Line, read_table, read_toml
from avbench.leaderboard.rules import cross_problems, measured_problems, published_problems
from avbench.leaderboard.schema import (
    MEASURED_COLUMNS,
    PUBLISHED_COLUMNS,
    QUANTITY_COLUMNS,
    Board,
    Conflict,
    Figure,
    MeasuredRow,
    Problem,
    Quantity,
    as_figures,
)
from avbench.leaderboard.views import ViewSpec, read_views, view_problems
from avbench.toml import ConfigError

PUBLISHED, MEASURED, RENDERED = "published", "measured", "rendered"
QUANTITIES, CONFLICTS, VIEWS = "quantities.csv", "conflicts.toml", "views.toml"


@dataclass(frozen=True)
class Reading:
    """A folder as far as it could be read, and its problems in order of files and lines."""

    board: Board
    views: tuple[ViewSpec, ...]
    problems: tuple[Problem, ...]


def read_folder(folder: Path) -> Reading:
    """Read and judge a leaderboards folder.

    Raises:
        UsageError: it is no such folder. What is wrong inside it is in `problems` instead.
    """
    if not (folder / QUANTITIES).is_file() or not (folder / PUBLISHED).is_dir():
        raise UsageError(
            f"{folder} is not a leaderboards folder (no {QUANTITIES} or no {PUBLISHED}/). Go to the repository's "
            "root, or name the folder (--folder)."
        )
    problems: list[Problem] = []
    quantities = _read_quantities(folder, problems)
    conflicts = _read_conflicts(folder, problems)
    figures: list[Figure] = []
    for path in sorted((folder / PUBLISHED).glob("*.csv")):
        for line in read_table(path, f"{PUBLISHED}/{path.name}", PUBLISHED_COLUMNS, problems):
            wrong = published_problems(line, quantities, conflicts)
            problems.extend(wrong)
            if not wrong:
                figures.append(_figure(line))
    measured, measured_figures = _read_measured(folder, quantities, problems)
    figures.extend(measured_figures)
    problems.extend(cross_problems(figures))
    views = read_views(folder / VIEWS, VIEWS, problems)
    board = Board(folder, quantities, conflicts, tuple(figures), tuple(measured))
    # A view may miss rows only because their lines are wrong: those come first.
    if not problems:
        problems.extend(view_problems(views, board))
        problems.extend(_idle_conflicts(board, views))
    return Reading(board, tuple(views), tuple(problems))


def load_board(folder: Path) -> tuple[Board, tuple[ViewSpec, ...]]:
    """A leaderboards folder without problems, and its named views.

    Raises:
        UsageError: something is wrong; the message has the first problem and how many there are.
    """
    reading = read_folder(folder)
    if reading.problems:
        more = len(reading.problems) - 1
        rest = f" ({more} more; 'avbench leaderboard check' lists them)" if more else ""
        raise UsageError(f"{folder}/{reading.problems[0]}{rest}")
    return reading.board, reading.views


def _read_quantities(folder: Path, problems: list[Problem]) -> dict[str, Quantity]:
    quantities: dict[str, Quantity] = {}
    for line in read_table(folder / QUANTITIES, QUANTITIES, QUANTITY_COLUMNS, problems):
        cells = line.cells
        wrong = [name for name in ("quantity", "label", "group", "unit", "meaning") if not cells[name]]
        if cells["direction"] not in ("higher", "lower", "either"):
            problems.append(Problem(QUANTITIES, line.number, "column direction", "expected higher, lower or either."))
        elif wrong:
            problems.append(Problem(QUANTITIES, line.number, f"column {wrong[0]}", "empty. Fill it in."))
        elif cells["quantity"] in quantities:
            problems.append(Problem(QUANTITIES, line.number, "column quantity", f"{cells['quantity']} is there twice."))
        else:
            low, high = (_bound(line, name, problems) for name in ("low", "high"))
            if low is not None and high is not None and low > high:
                problems.append(Problem(QUANTITIES, line.number, "column low", f"{low} is above high, {high}."))
            quantity = Quantity(
                cells["quantity"],
                cells["label"],
                cells["group"],
                cells["unit"],
                cells["direction"],
                low,
                high,
                cells["avbench"],
                cells["meaning"],
            )
            quantities[quantity.quantity] = quantity
    return quantities


def _bound(line: Line, column: str, problems: list[Problem]) -> Decimal | None:
    text = line.cells[column]
    try:
        return Decimal(text) if text else None
    except InvalidOperation:
        problems.append(Problem(line.file, line.number, f"column {column}", f"{text!r} is not a number."))
        return None


def _read_conflicts(folder: Path, problems: list[Problem]) -> dict[str, Conflict]:
    conflicts: dict[str, Conflict] = {}
    content, origin = read_toml(folder / CONFLICTS, CONFLICTS, problems)
    for key, table in content.items():
        try:
            entry = build(_ConflictEntry, table, origin, (key,))
        except ConfigError as error:
            problems.append(Problem(CONFLICTS, error.line, f"entry {key}", error.reason))
        else:
            conflicts[key] = Conflict(key, entry.title.strip(), " ".join(entry.text.split()))
    return conflicts


@dataclass(frozen=True)
class _ConflictEntry:
    title: str
    text: str


def _figure(line: Line) -> Figure:
    cells = dict(line.cells)
    conflict = tuple(cells.pop("conflict").split())
    return Figure("published", line.file, line.number, **cells, conflict=conflict)


def _read_measured(
    folder: Path, quantities: Mapping[str, Quantity], problems: list[Problem]
) -> tuple[list[MeasuredRow], list[Figure]]:
    """Only the tables that lie in the folder itself: folders below it hold whole results and are left alone."""
    rows: list[MeasuredRow] = []
    figures: list[Figure] = []
    known: dict[tuple[str, str, str], str] = {}
    for path in sorted((folder / MEASURED).glob("*.csv")):
        name = f"{MEASURED}/{path.name}"
        for line in read_table(path, name, MEASURED_COLUMNS, problems):
            wrong = measured_problems(line, quantities)
            problems.extend(wrong)
            if wrong:
                continue
            row = MeasuredRow(**line.cells)
            where = f"{name} line {line.number}"
            first = known.setdefault((row.run_digest, row.row, row.metric), where)
            if first != where:
                message = f"{row.row}, {row.metric}: the same run and metric as in {first}. Keep one."
                problems.append(Problem(name, line.number, "", message))
                continue
            rows.append(row)
            figures.extend(as_figures(row, name, line.number))
    return rows, figures


def _idle_conflicts(board: Board, views: list[ViewSpec]) -> list[Problem]:
    used = {key for figure in board.figures for key in figure.conflict}
    used |= {key for view in views for row in view.rows for key in row.conflicts}
    return [
        Problem(CONFLICTS, 0, f"entry {key}", "named by no figure and no view. Remove it, or name it.")
        for key in board.conflicts
        if key not in used
    ]
