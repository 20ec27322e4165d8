"""The summary of a run as a table, and its entries as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avbench.direction import Direction
from avbench.pages.numbers import Interval, format_mean_interval, format_value, interval_of, no_interval
from avbench.pages.table import Cell, Column, Row, Table
from avbench.terminal.text import shorten

Entry = Mapping[str, Any]
Metadata = Mapping[str, Mapping[str, Any]]
SUMMARY_COLUMNS = (
    Column("metric", "metric", "name"),
    Column("direction", "which way is better", "sign"),
    Column("mean", "mean [low, high]"),
    Column("median", "median"),
    Column("n", "n of N"),
    Column("unit", "unit", "word"),
    Column("problems", "problems", "text"),
)


def watermark(info: Mapping[str, Any]) -> str:
    """Text above every table of a run whose networks had test weights; empty for a real run."""
    weights = info.get("weights", "checkpoints")
    if weights == "unknown":
        return "WEIGHTS UNKNOWN: it is unknown whether the numbers of learned metrics mean anything"
    return "" if weights == "checkpoints" else f"TEST WEIGHTS ({weights}): the numbers of learned metrics mean nothing"


def interval(entry: Entry) -> Interval:
    """The interval of a summary entry."""
    return interval_of(entry.get("low"), entry.get("high"), str(entry.get("no_interval") or ""))


def format_mean(entry: Entry) -> str:
    """One summary entry as "0.43 [0.40, 0.46] (12 of 14)".

    Args:
        entry: an entry of `avbench.statistics.summary.summarize`.

    Returns:
        The text; "– (0 of 14)" without an ok row, no brackets without an interval. A mean without its n does
        not exist.
    """
    return f"{format_mean_interval(entry['mean'], interval(entry))} ({entry['n_ok']} of {entry['n']})"


def format_unit(metadata: Mapping[str, Any] | None) -> str:
    """The unit, empty for a plain number."""
    unit = str((metadata or {}).get("unit") or "")
    return "" if unit == "1" else unit


def format_problems(entry: Entry, most: int = 2) -> str:
    """Rows without a value, as counts by reason: "2 error, 1 skipped: no sound (2); cannot decode (1)"."""
    counts = problem_counts(entry)
    if not counts:
        return ""
    reasons = sorted(dict(entry.get("reasons") or {}).items(), key=lambda item: (-item[1], item[0]))
    if len(reasons) == 1:
        return f"{counts}: {shorten(reasons[0][0])}"
    named = [f"{shorten(reason)} ({count})" for reason, count in reasons[:most]]
    if len(reasons) > most:
        named.append(f"{len(reasons) - most} more reasons")
    return counts + (": " + "; ".join(named) if named else "")


def problem_counts(entry: Entry) -> str:
    """Rows without a value, as counts: "2 error, 1 skipped"."""
    return ", ".join(f"{entry[f'n_{s}']} {s}" for s in ("error", "skipped") if entry.get(f"n_{s}"))


def summary_table(entries: Sequence[Entry], metrics: Metadata, title: str) -> Table:
    """The summary as a table; reasons for missing values stand below it.

    Args:
        entries: entries of `avbench.aggregate.summarize`.
        metrics: `run.json`'s "metrics"; a metric that is missing there has no unit and no direction.
        title: heading.
    """
    rows = [Row(summary_cells(entry, metrics.get(entry["metric"]), problem_counts(entry))) for entry in entries]
    return Table(title, SUMMARY_COLUMNS, tuple(rows), tuple(_reason_lines(entries)))


def summary_cells(entry: Entry, metadata: Mapping[str, Any] | None, problems: str) -> tuple[Cell, ...]:
    """The cells of one entry, in the order of `SUMMARY_COLUMNS`."""
    return (
        Cell(str(entry["metric"])),
        Cell(Direction.of_metadata(metadata).arrow),
        mean_cell(entry),
        Cell(format_value(entry.get("median"))),
        Cell(f"{entry['n_ok']} of {entry['n']}"),
        Cell(format_unit(metadata)),
        Cell(problems),
    )


def mean_cell(entry: Entry) -> Cell:
    """Mean and interval, without counts; where there is no interval, why."""
    bounds = interval(entry)
    return Cell(format_mean_interval(entry["mean"], bounds), note=no_interval(bounds))


def _reason_lines(entries: Sequence[Entry], most: int = 8) -> list[str]:
    """One line per reason with its number of rows and its metrics, the most frequent first."""
    counts: dict[str, tuple[int, list[str]]] = {}
    for entry in entries:
        for reason, count in dict(entry.get("reasons") or {}).items():
            rows, metrics = counts.get(reason, (0, []))
            counts[reason] = (rows + count, [*metrics, str(entry["metric"])])
    ordered = sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))
    lines = [
        f"{rows} × {shorten(reason, 160)} ({shorten(', '.join(metrics), 80)})"
        for reason, (rows, metrics) in ordered[:most]
    ]
    return lines + ([f"and {len(ordered) - most} more reasons"] if len(ordered) > most else [])
