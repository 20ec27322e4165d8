"""One table of an ablation in parts: rewards, held-out metrics, cost, published figures beside, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from avbench.direction import Direction
from avbench.pages.numbers import (
    Interval,
    decimals_for,
    format_ends,
    format_value,
    interval_of,
    no_interval,
    with_sign,
)
from avbench.pages.table import Cell, Column, rank, row_of
from avbench.pages.table import Row as ShownRow
from avbench.pages.table import Table as ShownTable
from omninft_train.ablation.collect import Results, Training
from omninft_train.ablation.compare import Difference, Summary, columns, differences, order_sentences
from omninft_train.ablation.grid import Grid, Metric, Row, Table
from omninft_train.ablation.published import Beside

_BY_CHANCE = 0.05
_RANKING = "whether that is more than noise, the orderings say."
_ROW = Column("row", "", "text")
_COST = (
    _ROW, Column("training", "training time"), Column("step", "seconds of a step"),
    Column("memory", "peak memory (GB)"), Column("runs", "runs"),
)  # fmt: skip
_DIFFERENCE = (
    Column("difference", "difference", "text"), Column("metric", "metric", "word"), Column("mean", "mean"),
    Column("seeds", "over seeds"), Column("prompts", "over prompts"), Column("each", "each seed"),
    Column("verdict", "ordering", "word"),
)  # fmt: skip


@dataclass(frozen=True)
class Sheet:
    """Everything about one table.

    `orders` say of each metric whether the seeds support the order of the rows. `sentences` say the same of two rows:
    each row and the one before it, then each row and the baseline.
    """

    table: Table
    blocks: tuple[ShownTable, ...]
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
    compared = differences(grid, results, table)
    seeds = (
        f"Mean ± standard deviation over {len(grid.seeds)} seeds."
        if len(grid.seeds) > 1
        else "One seed: no standard deviation."
    )
    blocks = [
        _block("Rewards, which training saw", table, rewarded, summaries, seeds),
        _block("Held out: no reward of the training", table, held_out, summaries, seeds),
        _cost(grid, results, table),
    ]
    if beside.figures:
        blocks.append(_beside(table, shown, summaries, beside))
    blocks.append(_differences(compared, shown))
    sentences = [d.sentence for d in compared if d.verdict not in ("no direction", "no values")]
    orders = tuple(order_sentences(compared, shown))
    return Sheet(
        table, tuple(block for block in blocks if block.rows), orders, tuple(sentences), tuple(compared), beside
    )


def column(metric: Metric) -> Column:
    """The column of a metric."""
    return Column(metric.name, metric.label, unit=metric.unit, direction=Direction.named(metric.direction))


def _labels(table: Table) -> list[str]:
    return [f"{row.group}: {row.label}" if row.group else row.label for row in table.rows]


def _block(
    title: str, table: Table, metrics: Sequence[Metric], summaries: Mapping[tuple[str, str], Summary], note: str
) -> ShownTable:
    if not metrics:
        return ShownTable(title, (), ())
    made = [_column(table.rows, metric, summaries) for metric in metrics]
    rows = [ShownRow((Cell(label), *cells)) for label, *cells in zip(_labels(table), *made, strict=True)]
    return ShownTable(title, (_ROW, *map(column, metrics)), tuple(rows), (note,), ranking=_RANKING)


def _column(rows: Sequence[Row], metric: Metric, summaries: Mapping[tuple[str, str], Summary]) -> list[Cell]:
    row_summaries = [summaries.get((row.variant, metric.name)) for row in rows]
    digits = significant_decimals([s.mean for s in row_summaries if s and s.mean is not None])
    printed = [None if s is None or s.mean is None else round(s.mean, digits) for s in row_summaries]
    ranks = rank(printed, Direction.named(metric.direction))
    return [Cell(_mean_text(summary, digits), position) for summary, position in zip(row_summaries, ranks, strict=True)]


def _mean_text(summary: Summary | None, digits: int) -> str:
    if summary is None or summary.mean is None:
        return ""
    std = f" ± {summary.sd:.{digits}f}" if summary.sd is not None else ""
    lost = f" ({summary.n} of {summary.n_of})" if summary.n < summary.n_of else ""
    return f"{summary.mean:.{digits}f}{std}{lost}"


def significant_decimals(values: Sequence[float]) -> int:
    """Decimals that show a column to about four significant digits."""
    largest = max((abs(value) for value in values), default=0.0)
    return 3 if largest < 10 else 2 if largest < 100 else 1


def _cost(grid: Grid, results: Results, table: Table) -> ShownTable:
    rows = []
    for row, label in zip(table.rows, _labels(table), strict=True):
        trainings = [training for training in results.trainings if training.variant == row.variant]
        if trainings:
            rows.append(row_of((label, _time(trainings), _each(trainings), _memory(trainings), str(len(trainings)))))
    note = (
        f"Time of the logged steps, mean ± standard deviation over seeds; {grid.jobs} steps of the plan side by side."
    )
    return ShownTable("Cost", _COST, tuple(rows), (note,))


def _time(trainings: Sequence[Training]) -> str:
    seconds = [training.seconds for training in trainings]
    unit, divisor = ("h", 3600.0) if max(seconds) >= 7200 else ("min", 60.0) if max(seconds) >= 120 else ("s", 1.0)
    return _mean_and_std([value / divisor for value in seconds], 1) + f" {unit}"


def _each(trainings: Sequence[Training]) -> str:
    return _mean_and_std([training.seconds / max(1, len(training.rows)) for training in trainings], 2)


def _memory(trainings: Sequence[Training]) -> str:
    known = [training.memory_gb for training in trainings if training.memory_gb is not None]
    return f"{max(known):.2f}" if known else ""


def _mean_and_std(values: Sequence[float], digits: int) -> str:
    std = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{std}"


def _beside(
    table: Table, shown: Sequence[Metric], summaries: Mapping[tuple[str, str], Summary], beside: Beside
) -> ShownTable:
    metrics = [metric for metric in shown if any(key[1] == metric.name for key in beside.figures)]
    rows = []
    for row, label in zip(table.rows, _labels(table), strict=True):
        cells = [Cell(label)]
        for metric in metrics:
            figure = beside.figures.get((row.label, metric.name))
            cells.append(Cell(_mean_text(summaries.get((row.variant, metric.name)), 3)))
            cells.append(Cell(figure.value, marks=(figure.status,)) if figure else Cell())
        rows.append(ShownRow(tuple(cells)))
    pairs = ((metric, whose) for metric in metrics for whose in ("measured", "published"))
    heads = (Column(f"{metric.name}_{whose}", f"{column(metric).heading}, {whose}") for metric, whose in pairs)
    note = f"Published: read, not measured here; the mark says from how many sources. {beside.note}".strip()
    return ShownTable("Beside the published figures", (_ROW, *heads), tuple(rows), (note,))


def _differences(compared: Sequence[Difference], shown: Sequence[Metric]) -> ShownTable:
    headings = {metric.name: column(metric).heading for metric in shown}
    rows = [_difference(one, headings[one.metric]) for one in compared if one.difference is not None]
    tested = sum(one.verdict in ("supported", "agree", "disagree") for one in compared)
    note = (
        "Paired by seed, and by prompt and sample within a seed. Over seeds: 95 % t interval; over prompts: 95 % "
        "interval of the mean over seeds. Supported: the seeds agree and neither interval includes 0. "
        f"Of {tested} orderings tested, up to {tested * _BY_CHANCE:.1f} may look supported where nothing has an effect."
    )
    return ShownTable("Differences", _DIFFERENCE, tuple(rows), (note,))


def _difference(one: Difference, heading: str) -> ShownRow:
    decimals = decimals_for([one.difference, *one.by_seed])
    texts = (
        f"{one.row.label} – {one.against.label}",
        heading,
        with_sign(format_value(one.difference, decimals)),
    )
    ends = (
        interval_of(one.low, one.high, one.no_seeds),
        interval_of(one.prompt_low, one.prompt_high, one.no_prompts),
    )
    each = ", ".join(with_sign(format_value(value, decimals)) for value in one.by_seed)
    intervals = (_ends_cell(interval, decimals) for interval in ends)
    return ShownRow((*map(Cell, texts), *intervals, Cell(each), Cell(one.verdict)))


def _ends_cell(interval: Interval, decimals: int) -> Cell:
    if isinstance(interval, tuple):
        return Cell(format_ends(interval, decimals, signed=True))
    return Cell(note=no_interval(interval))
