"""A table of an ablation as blocks of cells, which Markdown, LaTeX and HTML then show in the same way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from omninft_train.ablation.collect import Results, Training
from omninft_train.ablation.compare import Difference, Summary, columns, differences, order_sentences
from omninft_train.ablation.grid import Grid, Metric, Row, Table
from omninft_train.ablation.published import Beside

NONE = "–"
ARROWS = {"higher": "↑", "lower": "↓", "none": "·"}
_BY_CHANCE = 0.05


@dataclass(frozen=True)
class Cell:
    """A cell. `rank` is the place of its printed value in its column; `mark` says where a published figure is from."""

    text: str
    rank: Literal["", "best", "second"] = ""
    mark: str = ""


@dataclass(frozen=True)
class Block:
    """A titled table with a note below. The first column is text, the others numbers."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """Everything about one table.

    `orders` say of each metric whether the seeds support the order of the rows. `sentences` say the same of two rows:
    each row and the one before it, then each row and the baseline.
    """

    table: Table
    blocks: tuple[Block, ...]
    orders: tuple[str, ...]
    sentences: tuple[str, ...]
    differences: tuple[Difference, ...]
    beside: Beside


def make_sheet(
    grid: Grid, results: Results, table: Table, summaries: Mapping[tuple[str, str], Summary], beside: Beside
) -> Sheet:
    """Fill in a table."""
    shown = columns(results, table)
    rewarded = [metric for metric in shown if metric.name in results.rewarded]
    held_out = [metric for metric in shown if metric.name not in results.rewarded]
    found = differences(grid, results, table)
    seeds = (
        f"Mean ± standard deviation over {len(grid.seeds)} seeds." if len(grid.seeds) > 1 else "One seed: no spread."
    )
    ranked = " **Best** and second by the printed value; whether that is more than noise, the orderings say."
    blocks = [
        _block("Rewards, which training saw", table, rewarded, summaries, seeds + ranked),
        _block("Held out: no reward of the training", table, held_out, summaries, seeds),
        _cost(grid, results, table),
    ]
    if beside.figures:
        blocks.append(_beside(table, shown, summaries, beside))
    blocks.append(_differences(found, shown))
    said = [d.sentence for d in found if d.verdict not in ("no direction", "no values")]
    orders = tuple(order_sentences(table, found, shown))
    return Sheet(table, tuple(block for block in blocks if block.rows), orders, tuple(said), tuple(found), beside)


def heading(metric: Metric) -> str:
    """Label, arrow and unit."""
    return f"{metric.label} {ARROWS[metric.direction]}" + (f" ({metric.unit})" if metric.unit not in ("", "1") else "")


def _labels(table: Table) -> list[str]:
    return [f"{row.group}: {row.label}" if row.group else row.label for row in table.rows]


def _block(
    title: str, table: Table, metrics: Sequence[Metric], summaries: Mapping[tuple[str, str], Summary], note: str
) -> Block:
    if not metrics:
        return Block(title, (), ())
    made = [_column(table.rows, metric, summaries) for metric in metrics]
    rows = [(Cell(label), *(column[place] for column in made)) for place, label in enumerate(_labels(table))]
    return Block(title, ("", *map(heading, metrics)), tuple(rows), note)


def _column(rows: Sequence[Row], metric: Metric, summaries: Mapping[tuple[str, str], Summary]) -> list[Cell]:
    own = [summaries.get((row.variant, metric.name)) for row in rows]
    digits = places([s.mean for s in own if s and s.mean is not None])
    texts = [_mean_text(summary, digits) for summary in own]
    known = sorted(
        {round(s.mean, digits) for s in own if s and s.mean is not None}, reverse=metric.direction == "higher"
    )
    cells = []
    for summary, text in zip(own, texts, strict=True):
        rank: Literal["", "best", "second"] = ""
        if metric.direction != "none" and summary and summary.mean is not None and len(known) > 1:
            at = known.index(round(summary.mean, digits))
            rank = "best" if at == 0 else "second" if at == 1 else ""
        cells.append(Cell(text, rank))
    return cells


def _mean_text(summary: Summary | None, digits: int) -> str:
    if summary is None or summary.mean is None:
        return NONE
    spread = f" ± {summary.sd:.{digits}f}" if summary.sd is not None else ""
    lost = f" ({summary.n} of {summary.n_of})" if summary.n < summary.n_of else ""
    return f"{summary.mean:.{digits}f}{spread}{lost}"


def places(values: Sequence[float]) -> int:
    """Decimals that show a column to about four significant digits."""
    largest = max((abs(value) for value in values), default=0.0)
    return 3 if largest < 10 else 2 if largest < 100 else 1


def _cost(grid: Grid, results: Results, table: Table) -> Block:
    rows = []
    for row, label in zip(table.rows, _labels(table), strict=True):
        own = [training for training in results.trainings if training.variant == row.variant]
        if own:
            rows.append((Cell(label), Cell(_time(own)), Cell(_each(own)), Cell(_memory(own)), Cell(str(len(own)))))
    heads = ("", "training time", "seconds of a step", "peak memory (GB)", "runs")
    note = (
        f"Time of the logged steps, mean ± standard deviation over seeds; {grid.jobs} steps of the plan side by side."
    )
    return Block("Cost", heads, tuple(rows), note)


def _time(own: Sequence[Training]) -> str:
    seconds = [training.seconds for training in own]
    unit, divisor = ("h", 3600.0) if max(seconds) >= 7200 else ("min", 60.0) if max(seconds) >= 120 else ("s", 1.0)
    return _spread([value / divisor for value in seconds], 1) + f" {unit}"


def _each(own: Sequence[Training]) -> str:
    return _spread([training.seconds / max(1, len(training.rows)) for training in own], 2)


def _memory(own: Sequence[Training]) -> str:
    known = [training.memory_gb for training in own if training.memory_gb is not None]
    return f"{max(known):.2f}" if known else NONE


def _spread(values: Sequence[float], digits: int) -> str:
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def _beside(
    table: Table, shown: Sequence[Metric], summaries: Mapping[tuple[str, str], Summary], beside: Beside
) -> Block:
    metrics = [metric for metric in shown if any(key[1] == metric.name for key in beside.figures)]
    heads = [text for metric in metrics for text in (f"{heading(metric)}, measured", f"{heading(metric)}, published")]
    rows = []
    for row, label in zip(table.rows, _labels(table), strict=True):
        cells = [Cell(label)]
        for metric in metrics:
            summary = summaries.get((row.variant, metric.name))
            figure = beside.figures.get((row.label, metric.name))
            cells.append(Cell(_mean_text(summary, 3)))
            cells.append(Cell(figure.value if figure else NONE, mark=figure.status if figure else ""))
        rows.append(tuple(cells))
    note = f"Published: read, not measured here; the mark says from how many sources. {beside.note}".strip()
    return Block("Beside the published figures", ("", *heads), tuple(rows), note)


def _differences(found: Sequence[Difference], shown: Sequence[Metric]) -> Block:
    by_name = {metric.name: metric for metric in shown}
    rows = []
    for one in found:
        if one.difference is None:
            continue
        rows.append(
            (
                Cell(f"{one.row.label} – {one.against.label}"),
                Cell(heading(by_name[one.metric])),
                Cell(signed(one.difference)),
                Cell(bounds(one.low, one.high)),
                Cell(bounds(one.prompt_low, one.prompt_high)),
                Cell(", ".join(signed(value) for value in one.by_seed)),
                Cell(one.verdict),
            )
        )
    tested = sum(one.verdict in ("supported", "agree", "disagree") for one in found)
    note = (
        "Paired by seed, and by prompt and sample within a seed. Over seeds: 95 % t interval; over prompts: 95 % "
        "bootstrap interval of the mean over seeds. Supported: the seeds agree and neither interval includes 0. "
        f"Of {tested} orderings tested, up to {tested * _BY_CHANCE:.1f} may look supported where nothing has an effect."
    )
    heads = ("difference", "metric", "mean", "over seeds", "over prompts", "each seed", "ordering")
    return Block("Differences", heads, tuple(rows), note)


def signed(value: float | None) -> str:
    """A difference with its sign, three significant digits."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:+.3g}"


def bounds(low: float | None, high: float | None) -> str:
    """An interval."""
    return NONE if low is None or high is None else f"[{signed(low)}, {signed(high)}]"
