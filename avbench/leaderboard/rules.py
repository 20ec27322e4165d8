"""Check lines of published and measured tables: units, ranges, directions, sources, duplicates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from avbench.errors import near
from avbench.leaderboard.lines import Line, Report
from avbench.leaderboard.schema import (
    DIRECTIONS,
    MODES,
    REAL_WEIGHTS,
    STATISTICS,
    STATUSES,
    Conflict,
    Figure,
    Problem,
    Quantity,
)

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_MEASURED_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
_ARXIV = re.compile(r"\d{4}\.\d{4,5}|-")
_DIGEST = re.compile(r"[0-9a-f]{8,64}")
_NEEDED = ("paper", "arxiv_id", "table", "benchmark", "row", "metric", "statistic", "direction", "source", "status")
_NEEDED_MEASURED = (
    "benchmark", "row", "metric", "quantity", "mode", "value", "n", "n_of", "unit", "direction", "run_digest",
    "weights_digest", "weights", "precision", "seeds", "machine", "date",
)  # fmt: skip
_SOURCES_SEPARATOR = " | "


def published_problems(
    line: Line, quantities: Mapping[str, Quantity], conflicts: Mapping[str, Conflict]
) -> list[Problem]:
    """Everything that is wrong with one line of a published table."""
    problems: list[Problem] = []

    def report(column: str, message: str) -> None:
        problems.append(Problem(line.file, line.number, f"column {column}", message))

    cells = line.cells
    for column in _NEEDED:
        if not cells[column]:
            report(column, "empty. Fill it in, or remove the line: a figure without it is of no use.")
    _one_of(report, cells, "statistic", STATISTICS)
    _one_of(report, cells, "status", STATUSES)
    _one_of(report, cells, "direction", DIRECTIONS)
    if not _ARXIV.fullmatch(cells["arxiv_id"]):
        report("arxiv_id", f"{cells['arxiv_id']!r}, expected such as 2605.12480, or - where there is none.")
    if cells["method"] and not cells["backbone"]:
        report("backbone", "empty beside a method. Name the base model.")
    _check_sources(report, cells)
    _check_conflict(report, cells, conflicts)
    if cells["statistic"] == "setting":
        _check_setting(report, cells)
    elif cells["quantity"] not in quantities:
        report("quantity", f"unknown {cells['quantity']!r}. {near(cells['quantity'], list(quantities))}")
    else:
        _check_quantity(report, cells, quantities[cells["quantity"]])
        _check_value(report, cells, quantities[cells["quantity"]])
    return problems


def measured_problems(line: Line, quantities: Mapping[str, Quantity]) -> list[Problem]:
    """Everything that is wrong with one line of a measured table."""
    problems: list[Problem] = []

    def report(column: str, message: str) -> None:
        problems.append(Problem(line.file, line.number, f"column {column}", message))

    cells = line.cells
    for column in _NEEDED_MEASURED:
        if not cells[column]:
            report(column, "empty. A measured row says where it comes from; write it with 'avbench leaderboard add'.")
    _one_of(report, cells, "mode", MODES)
    _one_of(report, cells, "direction", DIRECTIONS)
    if cells["weights"] and cells["weights"] != REAL_WEIGHTS:
        report("weights", f"{cells['weights']!r}: numbers of test weights mean nothing. Remove the line.")
    if cells["run_digest"] and not _DIGEST.fullmatch(cells["run_digest"]):
        report("run_digest", f"{cells['run_digest']!r}, expected 8 to 64 hexadecimal digits.")
    if cells["date"] and not _is_date(cells["date"]):
        report("date", f"{cells['date']!r}, expected YYYY-MM-DD.")
    for column in ("value", "spread", "low", "high"):
        if cells[column] and not _MEASURED_NUMBER.fullmatch(cells[column]):
            report(column, f"{cells[column]!r} is not a number.")
    for column in ("n", "n_of"):
        if cells[column] and not cells[column].isdecimal():
            report(column, f"{cells[column]!r} is not a count.")
    if not problems:
        _check_measured_values(report, cells, quantities.get(cells["quantity"]))
    return problems


def _check_measured_values(report: Report, cells: Mapping[str, str], quantity: Quantity | None) -> None:
    if int(cells["n"]) > int(cells["n_of"]):
        report("n", f"{cells['n']} clips with a value of {cells['n_of']}: more than there are.")
    if cells["metric"].removesuffix("_compat") != cells["quantity"]:
        report("quantity", f"{cells['quantity']!r}, expected {cells['metric'].removesuffix('_compat')!r}.")
    if cells["low"] and cells["high"] and Decimal(cells["low"]) > Decimal(cells["high"]):
        report("low", f"{cells['low']} is above high, {cells['high']}.")
    if cells["spread"] and Decimal(cells["spread"]) < 0:
        report("spread", f"{cells['spread']}: a standard deviation is not negative.")
    if quantity is not None:
        _check_quantity(report, {**cells, "statistic": "value"}, quantity)
        _check_bounds(report, Decimal(cells["value"]), quantity)


def _one_of(report: Report, cells: Mapping[str, str], column: str, known: Sequence[str]) -> None:
    if cells[column] and cells[column] not in known:
        report(column, f"unknown {cells[column]!r}. {near(cells[column], known)}")


def _check_sources(report: Report, cells: Mapping[str, str]) -> None:
    sources = [part.strip() for part in cells["source"].split(_SOURCES_SEPARATOR)]
    if len(set(sources)) != len(sources):
        report("source", "names a source twice.")
    if cells["status"] == "exact-from-two-sources" and len(sources) < 2:
        report("source", f"status exact-from-two-sources, and one source. Add the other after '{_SOURCES_SEPARATOR}'.")


def _check_conflict(report: Report, cells: Mapping[str, str], conflicts: Mapping[str, Conflict]) -> None:
    for key in cells["conflict"].split():
        if key not in conflicts:
            report("conflict", f"unknown {key!r}; conflicts.toml has {', '.join(conflicts) or 'none'}.")
    if cells["status"] == "conflicting" and not cells["conflict"]:
        report("conflict", "empty, and the status is conflicting. Name the entry of conflicts.toml that says why.")
    if cells["status"] == "derived" and not cells["note"]:
        report("note", "empty, and the status is derived. Say from what, and why that is allowed.")


def _check_setting(report: Report, cells: Mapping[str, str]) -> None:
    for column in ("quantity", "unit"):
        if cells[column]:
            report(column, f"{cells[column]!r}: a setting of a method has none. Empty the cell.")
    if cells["direction"] != "n/a":
        report("direction", f"{cells['direction']!r}, expected n/a for a setting.")
    if not cells["value"]:
        report("value", "empty. Remove the line.")


def _check_quantity(report: Report, cells: Mapping[str, str], quantity: Quantity) -> None:
    unit = "%" if cells["statistic"] == "relative_change" else quantity.unit
    if cells["unit"] != unit:
        report(
            "unit", f"{cells['unit']!r}, expected {unit!r} for {quantity.quantity}. Convert the value, or correct it."
        )
    if cells["statistic"] == "std":
        allowed: tuple[str, ...] = ("n/a",)
    else:
        allowed = DIRECTIONS if quantity.direction == "either" else (quantity.direction,)
    if cells["direction"] in DIRECTIONS and cells["direction"] not in allowed:
        expected = " or ".join(allowed)
        report("direction", f"{cells['direction']!r}, expected {expected} for {quantity.quantity}.")


def _check_value(report: Report, cells: Mapping[str, str], quantity: Quantity) -> None:
    value = cells["value"]
    if (cells["status"] == "unknown") != (not value):
        report("value", "a value is empty exactly where the status is unknown. Nothing is filled in by guessing.")
    if not value:
        return
    if not _NUMBER.fullmatch(value):
        report("value", f"{value!r} is not a number as printed, such as 0.170.")
    elif cells["statistic"] == "std" and Decimal(value) < 0:
        report("value", f"{value}: a standard deviation is not negative.")
    elif cells["statistic"] == "value":
        _check_bounds(report, Decimal(value), quantity)


def _check_bounds(report: Report, number: Decimal, quantity: Quantity) -> None:
    low, high = quantity.low, quantity.high
    if (low is not None and number < low) or (high is not None and number > high):
        ends = f"{'-inf' if low is None else low} to {'inf' if high is None else high}"
        report("value", f"{number} is outside the range of {quantity.quantity}, {ends}. Compare with the source.")


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def cross_problems(figures: Sequence[Figure]) -> list[Problem]:
    """Problems of several lines together: duplicates, a standard deviation without a mean, two names for one model."""
    problems: list[Problem] = []
    seen: dict[tuple[str, ...], Figure] = {}
    entries: dict[tuple[str, ...], Figure] = {}
    for figure in figures:
        key = (*figure.entry_key, figure.quantity or figure.metric, figure.statistic)
        first = seen.setdefault(key, figure)
        if first is not figure:
            message = f"{figure.row}, {figure.metric}: the same figure as in {first.file} line {first.line}. Keep one."
            problems.append(Problem(figure.file, figure.line, "", message))
        model = entries.setdefault(figure.entry_key, figure)
        if (model.backbone, model.method) != (figure.backbone, figure.method):
            message = (
                f"{figure.row} is {figure.backbone or '-'} / {figure.method or '-'} here and "
                f"{model.backbone or '-'} / {model.method or '-'} in {model.file} line {model.line}. Make them agree."
            )
            problems.append(Problem(figure.file, figure.line, "columns backbone, method", message))
    for key, figure in seen.items():
        if figure.statistic == "std" and (*key[:-1], "value") not in seen:
            what = f"the standard deviation of {figure.row}, {figure.metric}"
            message = f"{what} has no mean. Add it, with setting 'mean over ...'."
            problems.append(Problem(figure.file, figure.line, "column statistic", message))
    return problems
