"""A comparison for people: a table for the terminal, and Markdown for a job summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from avbench.check.compare import Comparison
from avbench.check.noise import Noise
from avbench.check.verdict import Finding, Verdict
from avbench.report.tables import NONE, decimals_for, format_value, shorten
from avbench.terminal.output import cell
from avbench.terminal.text import markdown_text, one_line

if TYPE_CHECKING:
    from rich.table import Table

ORDER: tuple[Verdict, ...] = ("worse", "undecided", "better", "same")
_ARROWS = {"higher": "↑", "lower": "↓", "keep": "=", None: "·"}
_STYLES = {"worse": "bold red", "undecided": "yellow", "better": "green", "same": ""}
_HEADINGS = ("metric", "", "unit", "baseline", "candidate", "difference [95 %]", "relevant", "noise", "n", "verdict")
_NARROW = ("metric", "", "baseline", "difference [95 %]", "relevant", "n", "verdict")
_TEXT_COLUMNS = ("metric", "", "verdict")


def ranked(comparison: Comparison) -> list[Finding]:
    """Findings with a verdict, regressions first."""
    judged = [finding for finding in comparison.findings if finding.verdict in ORDER]
    return sorted(judged, key=lambda finding: ORDER.index(finding.verdict))


def comparison_table(comparison: Comparison) -> Table:
    """The findings for the terminal, regressions first; nothing in it is read as rich markup.

    Returns:
        A table for `rich.console.Console.print`; reasons stand below it.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title=cell(_title(comparison)))
    table.title_justify = table.caption_justify = "left"
    # A terminal has 80 columns: what is left out here is in the files.
    for name in _NARROW:
        side: Literal["left", "right"] = "left" if name in _TEXT_COLUMNS else "right"
        table.add_column(name, justify=side, overflow="fold", no_wrap=name != "metric")
    for finding in ranked(comparison):
        shown = dict(zip(_HEADINGS, _cells(finding), strict=True))
        table.add_row(*(cell(shown[name]) for name in _NARROW), style=_STYLES[finding.verdict])
    table.caption = cell("\n".join(remarks(comparison)))
    return table


def comparison_markdown(comparison: Comparison) -> str:
    """The findings as GitHub Markdown with a heading and a final newline; all texts are escaped."""
    lines = [
        f"### avbench check: {markdown_text(comparison.headline)}",
        "",
        markdown_text(_title(comparison)),
        "",
        "| " + " | ".join(_HEADINGS) + " |",
        "|---|:-:|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for finding in ranked(comparison):
        cells = [markdown_text(text) for text in _cells(finding)]
        if finding.verdict == "worse":
            cells[-1] = f"**{cells[-1]}**"
        lines.append("| " + " | ".join(cells) + " |")
    if notes := remarks(comparison):
        lines += ["", *(f"- {markdown_text(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def remarks(comparison: Comparison) -> list[str]:
    """Reasons of verdicts, metrics that are not judged, and notes: a line each."""
    lines = [f"{finding.metric}: {shorten(finding.reason, 240)}" for finding in ranked(comparison) if finding.reason]
    if names := comparison.names("not judged"):
        lines.append(f"not judged, as neither direction is better: {', '.join(names)}")
    return [one_line(line) for line in [*lines, *comparison.notes]]


def _title(comparison: Comparison) -> str:
    return one_line(
        f"{comparison.candidate} against {comparison.baseline}: {comparison.clips} clips of {comparison.prompts} "
        f"prompts, paired by {comparison.by} and sample index"
    )


def _cells(finding: Finding) -> tuple[str, ...]:
    means = decimals_for([finding.baseline, finding.candidate])
    places = decimals_for([finding.difference, finding.low, finding.high])
    places = max(places, means) if finding.difference is not None else means
    return (
        finding.metric,
        _ARROWS[finding.direction],
        "" if finding.unit == "1" else finding.unit,
        format_value(finding.baseline, means),
        format_value(finding.candidate, means),
        _interval(finding, places),
        format_value(finding.min_difference, places),
        format_value(finding.floor, places),
        f"{finding.clips}" if finding.kind == "clip" else NONE,
        finding.verdict,
    )


def _interval(finding: Finding, places: int) -> str:
    if finding.difference is None:
        return NONE
    text = f"{'+' if finding.difference > 0 else ''}{format_value(finding.difference, places)}"
    if finding.low is None or finding.high is None:
        return text
    return f"{text} [{format_value(finding.low, places)}, {format_value(finding.high, places)}]"


def noise_table(noise: Noise) -> Table:
    """The noise floors for the terminal."""
    from rich import box
    from rich.table import Table

    title = cell(f"{len(noise.runs)} runs of one checkpoint")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title=title, title_justify="left")
    names: Sequence[str] = ("metric", "sd of a difference", "sd of runs", "floor", "from", "prompts")
    for name in names:
        table.add_column(name, justify="left" if name in ("metric", "from") else "right", no_wrap=True)
    for name, found in noise.metric.items():
        places = decimals_for([found.run_sd, found.floor])
        scatter = format_value(found.clip_sd, places) if found.kind == "clip" else NONE
        cells = (name, scatter, format_value(found.run_sd, places), format_value(found.floor, places))
        table.add_row(*(cell(text) for text in (*cells, found.source, str(found.prompts))))
    table.caption, table.caption_justify = cell("\n".join(noise.notes)), "left"
    return table
