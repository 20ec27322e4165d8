"""The page itself: one HTML file that needs no network, safe with any prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from avbench.direction import Direction
from avbench.pages.media import file_address
from avbench.pages.numbers import finite, format_significant, with_sign
from avbench.pages.shell import Kind, render, write_page
from avbench.pages.table import Cell, Column, Row, Table, Tone, row_of
from avbench.statistics import Interval
from omninft_train.files import make_folder
from omninft_train.report import curves, log_tables
from omninft_train.report.content import ClipPair, Report, ScoreRow
from omninft_train.report.heat import HeatFrame, HeatScale, heat_frames, heat_scale
from omninft_train.report.scores import evaluation_charts, score_rows
from omninft_train.training.tracking import reward_names

KIND = Kind("omninft_train.report", "report.html.j2", "report.css", media=("data:",))


_SCORES = (
    Column("metric", "metric", "word"), Column("direction", "which way is better", "sign"), Column("before", "before"),
    Column("after", "after"), Column("change", "change"), Column("verdict", "verdict", "word"), Column("n", "clips"),
)  # fmt: skip
_PAIR = (Column("score", "score", "word"), *_SCORES[2:5])
_SECTIONS = (
    ("scores", "Scores"), ("clips", "Clips"), ("rewards", "Rewards"), ("evaluations", "Evaluations"),
    ("conflict", "Conflict"), ("depth", "Gradients by depth"), ("regions", "Region weights"),
    ("optimisation", "Optimisation"), ("time", "Time"), ("recipe", "Recipe"),
)  # fmt: skip


def write_report(report: Report, path: Path) -> Path:
    """Write the page whole or not at all.

    Args:
        report: what is shown.
        path: of the page; missing folders are made.

    Returns:
        `path`. The same report and clips give the same bytes.

    Raises:
        EnvironmentProblem: the page cannot be written.
    """
    text = render_report(report)
    make_folder(path.parent)
    write_page(path, text)
    return path


def render_report(report: Report) -> str:
    """The page as text."""
    log = report.log
    phases = log_tables.phase_table(log)
    lost = sum(log_tables.failed(log, name) for name in reward_names(log))
    metadata = [("Recipe", report.recipe), ("Seed", str(report.seed)), ("Steps logged", str(len(log)))]
    metadata += [("Seconds in all", phases.rows[-1].cells[2].text)] if phases.rows else []
    metadata += [("Failed rewards", str(lost))] if lost else []
    context = {
        "brand": "omninft-train report",
        "title": report.title,
        "metadata": metadata,
        "notes": [*report.warnings, *report.notes],
        "sections": _SECTIONS,
        "report": report,
        "number": format_significant,
        "scores": score_table(report.scores),
        "address": file_address,
        "pair_table": _pair_table,
        "rewards": curves.reward_charts(log, report.weights),
        "reward_table": log_tables.reward_table(log),
        "evaluations": _evaluations(report),
        "conflict": curves.conflict_charts(log),
        "depth": curves.depth_charts(log),
        "depth_tables": log_tables.depth_tables(log),
        "overlays": _overlays(report),
        "optimisation": curves.optimisation_charts(log),
        "phases": phases,
    }
    return render(KIND, context)


def score_row(row: ScoreRow, group: str = "") -> Row:
    """A metric as shown. A change is called one where its paired 95 % interval over prompts leaves out 0."""
    before, after = finite(row.before_mean), finite(row.after_mean)
    direction = Direction.of(row.higher_is_better)
    change = "–"
    verdict: tuple[str, Tone] = ("no value", "")
    if before is not None and after is not None:
        change = _with_interval(after - before, row.change)
        verdict = _verdict(row.change, direction)
    texts = (row.name, direction.arrow, format_significant(before), format_significant(after))
    toned = (Cell(text, tone=verdict[1]) for text in (change, verdict[0]))
    return Row((*map(Cell, texts), *toned, Cell(str(row.n))), group)


def _verdict(change: Interval | None, direction: Direction) -> tuple[str, Tone]:
    if change is None:
        return "one value for all clips: no interval", ""
    if change.low is None or change.mean is None:
        return f"no interval: {change.reason}", ""
    if not change.excludes_zero:
        return "no clear change", ""
    if direction is Direction.NEITHER:
        return "changed", "warn"
    return ("better", "good") if direction.better(change.mean) else ("worse", "bad")


def _with_interval(difference: float, change: Interval | None) -> str:
    texts = [difference] if change is None or change.low is None else [difference, change.low, change.high]
    mean, *ends = [with_sign(format_significant(value)) for value in texts]
    return f"{mean} [{', '.join(ends)}]" if ends else mean


def score_table(rows: list[ScoreRow]) -> Table:
    """Scores before and after: what training raised, then what it never saw."""
    groups = (("Rewarded: training aimed at these", True), ("Held out: not rewarded", False))
    shown = [score_row(row, title) for title, seen in groups for row in rows if row.rewarded == seen]
    return Table("Scores before and after", _SCORES, tuple(shown))


def _evaluations(report: Report) -> dict[str, Any]:
    """Curves of the evaluations, held-out metrics apart, and the last one against the first."""
    evaluations = [one for one in report.evaluations if one.pairs_with(report.evaluations[-1])]
    if not evaluations:
        return {}
    first, last = evaluations[0], evaluations[-1]
    title = f"Step {last.step} against step {first.step}"
    return {
        "rewarded": evaluation_charts(evaluations, rewarded=True),
        "held_out": evaluation_charts(evaluations, rewarded=False),
        "change": replace(score_table(score_rows(first, last)), title=title) if len(evaluations) > 1 else None,
    }


def _overlays(report: Report) -> list[tuple[str, HeatScale, list[HeatFrame]]]:
    scales = [heat_scale(overlay) for overlay in report.overlays]
    return [(o.prompt, scale, heat_frames(o, scale)) for o, scale in zip(report.overlays, scales, strict=True)]


def _pair_table(pair: ClipPair) -> Table:
    rows = []
    for name, *values in pair.scores:
        before, after = map(finite, values)
        change = None if before is None or after is None else after - before
        texts = (name, format_significant(before), format_significant(after), with_sign(format_significant(change)))
        rows.append(row_of(texts))
    return Table(f"Scores: {pair.prompt}", _PAIR, tuple(rows))
