"""A comparison for people: its findings as a table, and as Markdown for a job summary."""

from __future__ import annotations

from avbench.check.compare import Comparison
from avbench.check.noise import Noise
from avbench.check.verdict import Finding, Verdict
from avbench.direction import Direction
from avbench.pages.markdown import table_markdown
from avbench.pages.numbers import decimals_for, format_ends, format_value, interval_of, with_sign
from avbench.pages.table import Cell, Column, Row, Table, Tone, row_of
from avbench.terminal.text import markdown_text, one_line, shorten

ORDER: tuple[Verdict, ...] = ("worse", "undecided", "better", "same")
_TONES: dict[Verdict, Tone] = {"worse": "bad", "undecided": "warn", "better": "good"}
_COLUMNS = (
    Column("metric", "metric", "text"),
    Column("direction", "direction", "sign"),
    Column("unit", "unit", "word", detail=True),
    Column("baseline", "baseline"),
    Column("candidate", "candidate", detail=True),
    Column("difference", "difference [95 %]"),
    Column("relevant", "relevant"),
    Column("noise", "noise", detail=True),
    Column("n", "n"),
    Column("verdict", "verdict", "word"),
)
_NOISE_COLUMNS = (
    Column("metric", "metric", "word"),
    Column("clip_sd", "sd of a difference"),
    Column("run_sd", "sd of runs"),
    Column("floor", "floor"),
    Column("source", "from", "word"),
    Column("prompts", "prompts"),
)


def ranked(comparison: Comparison) -> list[Finding]:
    """Findings with a verdict, regressions first."""
    judged = [finding for finding in comparison.findings if finding.verdict in ORDER]
    return sorted(judged, key=lambda finding: ORDER.index(finding.verdict))


def comparison_table(comparison: Comparison) -> Table:
    """The findings, regressions first; reasons stand below."""
    rows = tuple(Row(_cells(finding), tone=_TONES.get(finding.verdict, "")) for finding in ranked(comparison))
    return Table(_title(comparison), _COLUMNS, rows, tuple(remarks(comparison)))


def comparison_markdown(comparison: Comparison) -> str:
    """The findings as GitHub Markdown with a heading and a final newline; all texts are escaped."""
    table = comparison_table(comparison)
    parts = [
        f"### avbench check: {markdown_text(comparison.headline)}",
        markdown_text(table.title),
        table_markdown(table),
    ]
    if table.notes:
        parts.append("\n".join(f"- {markdown_text(note)}" for note in table.notes))
    return "\n\n".join(parts) + "\n"


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


def _cells(finding: Finding) -> tuple[Cell, ...]:
    means = decimals_for([finding.baseline, finding.candidate])
    decimals = decimals_for([finding.difference, finding.low, finding.high])
    decimals = max(decimals, means) if finding.difference is not None else means
    texts = (
        finding.metric,
        "=" if finding.direction == "keep" else Direction.named(finding.direction or "none").arrow,
        "" if finding.unit == "1" else finding.unit,
        format_value(finding.baseline, means),
        format_value(finding.candidate, means),
        _difference(finding, decimals),
        format_value(finding.min_difference, decimals),
        format_value(finding.floor, decimals),
        f"{finding.clips}" if finding.kind == "clip" else "",
    )
    return (*map(Cell, texts), Cell(finding.verdict, tone="bad" if finding.verdict == "worse" else ""))


def _difference(finding: Finding, decimals: int) -> str:
    text = with_sign(format_value(finding.difference, decimals))
    interval = interval_of(finding.low, finding.high)
    return text if interval is None else f"{text} {format_ends(interval, decimals, signed=True)}"


def noise_table(noise: Noise) -> Table:
    """The noise floors."""
    rows = []
    for name, metric in noise.metric.items():
        decimals = decimals_for([metric.run_sd, metric.floor])
        scatter = format_value(metric.clip_sd, decimals) if metric.kind == "clip" else ""
        texts = (name, scatter, format_value(metric.run_sd, decimals), format_value(metric.floor, decimals))
        rows.append(row_of((*texts, metric.source, str(metric.prompts))))
    title = f"{len(noise.runs)} runs of one checkpoint"
    return Table(title, _NOISE_COLUMNS, tuple(rows), tuple(noise.notes))
