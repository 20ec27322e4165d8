"""Evaluations as the page shows them: rows of two compared, and curves of many over steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from avbench.direction import Direction
from avbench.pages.charts import Labels, Series, line_chart
from avbench.pages.numbers import finite
from avbench.pages.svg import Chart
from avbench.statistics import Interval
from omninft_train.evaluation import Evaluation, change, mean_of
from omninft_train.report.content import ClipPair, ScoreRow

_PAIRS = 6  # prompts whose clips are shown
_BAND = "mean of clips, 95 % interval over prompts"
_SETS = {"impact_distance": False}
"""Metrics of sets of which one direction is the better one: whether higher is."""
_MISSING = Interval(None, None, None, 0, "not judged")


def score_rows(before: Evaluation, after: Evaluation) -> list[ScoreRow]:
    """Every metric that two evaluations of the same prompts and noise have in common."""
    rows = []
    for name, metric in before.metrics.items():
        if name not in after.metrics:
            continue
        other = after.metrics[name]
        pairs = sum(None not in pair for pair in zip(metric.values, other.values, strict=True))
        means = (mean_of(metric), mean_of(other))
        paired = change(before, after, name)
        rows.append(ScoreRow(name, metric.rewarded, *means, paired, pairs, metric.higher_is_better))
    clips = before.samples * len(before.prompts)
    for name, value in before.sets.items():
        rows.append(ScoreRow(name, False, value, after.sets.get(name), None, clips, _SETS.get(name)))
    return rows


def shown_prompts(count: int) -> range:
    """Which of the prompts have their clips shown: some, spread over all."""
    return range(0, count, -(-count // _PAIRS))


def clip_pairs(before: Evaluation, after: Evaluation, files: Callable[[int], tuple[Path, Path]]) -> list[ClipPair]:
    """The first clips of some prompts with their scores; `files` are those of a prompt, before and after training."""
    pairs = []
    for number in shown_prompts(len(after.prompts)):
        index = number * after.samples
        scores = [
            (name, metric.values[index], after.metrics[name].values[index])
            for name, metric in before.metrics.items()
            if name in after.metrics
        ]
        pairs.append(ClipPair(after.prompts[number], *files(number), scores))
    return pairs


def evaluation_charts(evaluations: Sequence[Evaluation], *, rewarded: bool) -> list[Chart]:
    """A chart for each metric that was rewarded, or for each that was not; metrics of sets have no interval."""
    if not evaluations:
        return []
    steps, last = [one.step for one in evaluations], evaluations[-1]
    charts = []
    for name, metric in last.metrics.items():
        if metric.rewarded == rewarded:
            ends = [one.mean(name) if name in one.metrics else _MISSING for one in evaluations]
            series = Series(
                _BAND,
                [end.mean for end in ends],
                low=[end.low for end in ends],
                high=[end.high for end in ends],
            )
            title = f"{name} {Direction.of(metric.higher_is_better).arrow}"
            charts.append(line_chart(Labels(title, "step", "mean of clips"), steps, [series]))
    for name in () if rewarded else last.sets:
        values = [finite(one.sets.get(name)) for one in evaluations]
        charts.append(line_chart(Labels(name, "step", "all clips together"), steps, [Series(name, values)]))
    return charts
