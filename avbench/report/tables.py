"""Summary entries as text: one cell, a table for the terminal, a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from avbench.terminal.output import cell
from avbench.terminal.text import markdown_text

if TYPE_CHECKING:
    from rich.table import Table

NONE = "–"
REASON_CHARS = 100
Entry = Mapping[str, Any]
Facts = Mapping[str, Mapping[str, Any]]


def watermark(info: Mapping[str, Any]) -> str:
    """What stands over every table of a run whose networks had test weights; empty for a real run."""
    weights = info.get("weights", "checkpoints")
    if weights == "unknown":
        return "WEIGHTS UNKNOWN: nothing tells whether the numbers of learned metrics mean anything"
    return "" if weights == "checkpoints" else f"TEST WEIGHTS ({weights}): the numbers of learned metrics mean nothing"


def decimals_for(values: Iterable[float | None]) -> int:
    """Decimal places that show about three figures of the largest of `values`; the same for all of them."""
    scale = max((abs(v) for v in values if v is not None), default=0.0)
    if scale >= 0.1:
        return 2 if scale < 10 else 1 if scale < 100 else 0
    return 2 if scale == 0 else min(6, 1 - math.floor(math.log10(scale)))


def format_value(value: float | None, decimals: int | None = None) -> str:
    """A number with fixed decimals (by its own size where None), or an en dash for null."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:.{decimals_for([value]) if decimals is None else decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def format_interval(entry: Entry) -> str:
    """Mean and interval without the counts, for tables that give the counts in a column beside it."""
    mean, low, high = (entry.get(key) for key in ("mean", "low", "high"))
    if mean is None:
        return NONE
    places = decimals_for([mean, low, high])
    if low is None or high is None:
        return format_value(mean, places)
    if high > low:  # an interval whose ends look the same says nothing
        places = max(places, min(places + 2, -math.floor(math.log10(high - low))))
    return f"{format_value(mean, places)} [{format_value(low, places)}, {format_value(high, places)}]"


def format_mean(entry: Entry) -> str:
    """One summary entry as "0.43 [0.40, 0.46] (12 of 14)".

    Args:
        entry: an entry of `avbench.statistics.summary.summarize`.

    Returns:
        The text; "– (0 of 14)" without an ok row, no brackets below two ok rows. A mean without its n does
        not exist.
    """
    return f"{format_interval(entry)} ({entry['n_ok']} of {entry['n']})"


def direction(facts: Mapping[str, Any] | None) -> str:
    """↑ where higher is better, ↓ where lower is, · where neither."""
    higher = (facts or {}).get("higher_is_better")
    return "·" if higher is None else "↑" if higher else "↓"


def format_unit(facts: Mapping[str, Any] | None) -> str:
    """The unit, empty for a plain number."""
    unit = str((facts or {}).get("unit") or "")
    return "" if unit == "1" else unit


def format_problems(entry: Entry, most: int = 2) -> str:
    """What lacks: rows without a value as counts by reason, and why there is no interval.

    For example "2 error, 1 skipped: no sound (2); cannot decode (1)".
    """
    missing = _missing_rows(entry, most)
    reason = entry.get("no_interval")
    return "; ".join(filter(None, (missing, f"no interval: {shorten(str(reason))}" if reason else "")))


def _missing_rows(entry: Entry, most: int) -> str:
    counts = _problem_counts(entry)
    if not counts:
        return ""
    reasons = sorted(dict(entry.get("reasons") or {}).items(), key=lambda item: (-item[1], item[0]))
    if len(reasons) == 1:
        return f"{counts}: {shorten(reasons[0][0])}"
    named = [f"{shorten(reason)} ({count})" for reason, count in reasons[:most]]
    if len(reasons) > most:
        named.append(f"{len(reasons) - most} more reasons")
    return counts + (": " + "; ".join(named) if named else "")


def _problem_counts(entry: Entry) -> str:
    return ", ".join(f"{entry[f'n_{s}']} {s}" for s in ("error", "skipped") if entry.get(f"n_{s}"))


def _reason_lines(entries: Sequence[Entry], most: int = 8) -> list[str]:
    """One line per reason with its number of rows and its metrics, the most frequent first."""
    found: dict[str, tuple[int, list[str]]] = {}
    for entry in entries:
        for reason, count in dict(entry.get("reasons") or {}).items():
            rows, metrics = found.get(reason, (0, []))
            found[reason] = (rows + count, [*metrics, str(entry["metric"])])
    ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    lines = [
        f"{rows} × {shorten(reason, 160)} ({shorten(', '.join(metrics), 80)})"
        for reason, (rows, metrics) in ordered[:most]
    ]
    return lines + ([f"and {len(ordered) - most} more reasons"] if len(ordered) > most else [])


def shorten(text: str, limit: int = REASON_CHARS) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


HEADINGS = ("metric", "mean [low, high]", "median", "n of N", "", "unit", "problems")
_RIGHT = ("mean [low, high]", "median", "n of N")


def summary_table(entries: Sequence[Entry], metrics_facts: Facts, title: str) -> Table:
    """The summary for the terminal.

    Args:
        entries: entries of `avbench.statistics.summary.summarize`.
        metrics_facts: `run.json`'s "metrics"; a metric that is missing there has no unit and no direction.
        title: heading, printed as plain text.

    Returns:
        A table for `rich.console.Console.print`. Nothing in it is read as rich markup.
    """
    from rich import box
    from rich.table import Table

    # Sparse, so that 80 columns hold it; reasons stand below.
    table = Table(title=cell(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in HEADINGS:
        table.add_column(name, justify="right" if name in _RIGHT else "left", no_wrap=name != "problems")
    for entry in entries:
        cells = [*_cells(entry, metrics_facts)[:-1], _problem_counts(entry)]
        table.add_row(*(cell(text) for text in cells))
    reasons = _reason_lines(entries)
    if reasons:
        table.caption = cell("\n".join(reasons))
        table.caption_justify = "left"
    return table


def summary_markdown(entries: Sequence[Entry], metrics_facts: Facts, title: str) -> str:
    """The same table as GitHub Markdown, with a heading and a final newline."""
    lines = [f"### {markdown_text(title)}", "", "| " + " | ".join(HEADINGS) + " |", "|---|--:|--:|--:|:-:|---|---|"]
    lines += ["| " + " | ".join(markdown_text(c) for c in _cells(entry, metrics_facts)) + " |" for entry in entries]
    return "\n".join(lines) + "\n"


def _cells(entry: Entry, metrics_facts: Facts) -> tuple[str, ...]:
    facts = metrics_facts.get(entry["metric"])
    return (
        str(entry["metric"]),
        format_interval(entry),
        format_value(entry.get("median")),
        f"{entry['n_ok']} of {entry['n']}",
        direction(facts),
        format_unit(facts),
        format_problems(entry),
    )
