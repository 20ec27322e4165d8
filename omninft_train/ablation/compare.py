"""Means over seeds, paired differences with intervals, and verdicts on the order of variants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from avbench.statistics import Interval, mean_interval, seed_interval
from omninft_train.ablation.collect import Results
from omninft_train.ablation.grid import Grid, Metric, Row, Table

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Verdict = Literal["supported", "agree", "disagree", "equal", "one seed", "no values", "no direction"]


@dataclass(frozen=True)
class Summary:
    """One metric of one variant.

    Attributes:
        mean: of the seeds' means; None without values.
        sd: standard deviation over the seeds' means; None for fewer than two seeds.
        by_seed: mean of each seed, None where it has none.
        low, high: 95 % interval of the mean over prompts.
        n, n_of: clips with a value, and clips; 0 for a metric over sets.
    """

    variant: str
    metric: str
    mean: float | None
    sd: float | None
    by_seed: tuple[float | None, ...]
    low: float | None
    high: float | None
    n: int
    n_of: int


@dataclass(frozen=True)
class Difference:
    """A row minus another, paired by seed, and by prompt and sample within a seed.

    Attributes:
        row, against: the two rows. role: why they are compared: "previous" or "baseline".
        difference: mean over seeds; None without pairs.
        by_seed: of each seed.
        low, high: 95 % t interval over seeds; None for fewer than two.
        prompt_low, prompt_high: 95 % interval over prompts, of the mean over seeds.
        verdict, sentence: whether the seeds support an ordering.
        no_seeds, no_prompts: why there is no interval over seeds, over prompts; empty where there is one.
    """

    table: str
    metric: str
    row: Row
    against: Row
    role: Literal["previous", "baseline"]
    difference: float | None
    by_seed: tuple[float | None, ...]
    low: float | None
    high: float | None
    prompt_low: float | None
    prompt_high: float | None
    pairs: int
    verdict: Verdict
    sentence: str
    no_seeds: str = ""
    no_prompts: str = ""


def summarise(results: Results, seeds: Sequence[int], variants: Sequence[str]) -> dict[tuple[str, str], Summary]:
    """Every metric of every variant, by (variant, metric)."""
    summaries = {}
    for variant in variants:
        for metric in results.metrics:
            rows = _of(results.clips, variant, metric.name)
            if len(rows):
                table = _by_prompt(rows, seeds)  # (prompts, seeds)
                means = _column_means(rows.pivot_table("value", ["prompt", "sample"], "seed", dropna=False), seeds)
                ends = _interval(table.mean(axis=1))
                count = int(rows["value"].notna().sum())
                summaries[variant, metric.name] = _summary(
                    variant, metric, means, (ends.low, ends.high), count, len(rows)
                )
            else:
                sets = _of(results.sets, variant, metric.name)
                means = [_value(sets.loc[sets["seed"] == seed, "value"]) for seed in seeds]
                summaries[variant, metric.name] = _summary(variant, metric, means, (None, None), 0, 0)
    return summaries


def _of(frame: pd.DataFrame, variant: str, metric: str) -> pd.DataFrame:
    return frame[(frame["variant"] == variant) & (frame["metric"] == metric)]


def _value(values: pd.Series[float]) -> float | None:
    return float(values.mean()) if len(values) and values.notna().any() else None


def _column_means(wide: pd.DataFrame, seeds: Sequence[int]) -> list[float | None]:
    return [_value(wide[seed]) if seed in wide else None for seed in seeds]


def _by_prompt(rows: pd.DataFrame, seeds: Sequence[int]) -> Floats:
    """Mean over samples, (prompts, seeds), NaN where there is none."""
    wide = rows.pivot_table("value", "prompt", "seed", aggfunc="mean", dropna=False).reindex(columns=list(seeds))
    return np.asarray(wide.to_numpy(dtype=np.float64))


def _interval(values: Floats) -> Interval:
    return mean_interval(values[np.isfinite(values)])


def _summary(
    variant: str, metric: Metric, means: Sequence[float | None], interval: tuple[float | None, float | None], *n: int
) -> Summary:
    known = [value for value in means if value is not None]
    mean = float(np.mean(known)) if known else None
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Summary(variant, metric.name, mean, sd, tuple(means), *interval, *n)


def differences(grid: Grid, results: Results, table: Table) -> list[Difference]:
    """Each row of a table minus the row before it in its group, and minus the baseline, for every metric."""
    shown = columns(results, table)
    return [
        compare(grid, results, table.name, metric, row, against, role)
        for row, against, role in _pairs(table)
        for metric in shown
    ]


def columns(results: Results, table: Table) -> list[Metric]:
    """Metrics of a table, in its order; all if it names none."""
    by_name = {metric.name: metric for metric in results.metrics}
    return [by_name[name] for name in table.columns or by_name if name in by_name]


def _pairs(table: Table) -> Iterator[tuple[Row, Row, Literal["previous", "baseline"]]]:
    """Each row with the one before it in its group, then with the baseline; no two rows twice."""
    seen: set[frozenset[str]] = set()
    for index, row in enumerate(table.rows):
        before = table.rows[index - 1] if index and table.rows[index - 1].group == row.group else None
        if before is not None and before.variant != row.variant:
            seen.add(frozenset((row.variant, before.variant)))
            yield row, before, "previous"
    for row in table.rows:
        same = [other for other in table.rows if other.variant == table.baseline]
        baseline = next((other for other in same if other.group == row.group), same[0] if same else row)
        pair = frozenset((row.variant, baseline.variant))
        if len(pair) > 1 and pair not in seen:
            seen.add(pair)
            yield row, baseline, "baseline"


def compare(
    grid: Grid,
    results: Results,
    table: str,
    metric: Metric,
    row: Row,
    against: Row,
    role: Literal["previous", "baseline"],
) -> Difference:
    """One row minus another in one metric."""
    by_seed, prompts, pairs = _paired(results, metric.name, (row.variant, against.variant), grid.seeds)
    known = [value for value in by_seed if value is not None]
    mean = float(np.mean(known)) if known else None
    over_seeds, over_prompts = seed_interval(known), _interval(prompts)
    ends = (over_seeds.low, over_seeds.high, over_prompts.low, over_prompts.high)
    verdict = judge(known, ends[:2], ends[2:], metric)
    sentence = _sentence(metric, row, against, known, verdict)
    return Difference(
        table, metric.name, row, against, role, mean, tuple(by_seed), *ends, pairs, verdict, sentence,
        over_seeds.reason, over_prompts.reason if len(prompts) else "one value for all prompts",
    )  # fmt: skip


def _paired(
    results: Results, metric: str, variants: tuple[str, str], seeds: Sequence[int]
) -> tuple[list[float | None], Floats, int]:
    """Difference of each seed, of each prompt (mean over seeds), and how many pairs of clips there are."""
    one, two = (_of(results.clips, variant, metric) for variant in variants)
    if len(one) and len(two):
        keys = ["seed", "prompt", "sample"]
        both = one[[*keys, "value"]].merge(two[[*keys, "value"]], on=keys, suffixes=("", "_other"))
        both = both.assign(value=both["value"] - both["value_other"]).dropna(subset=["value"])
        if both.empty:
            return [None] * len(seeds), np.zeros(0), 0
        by_seed = [_value(both.loc[both["seed"] == seed, "value"]) for seed in seeds]
        per_prompt = both.groupby(["prompt", "seed"])["value"].mean().groupby("prompt").mean()
        return by_seed, np.asarray(per_prompt.to_numpy(dtype=np.float64)), len(both)
    frames = [_of(results.sets, variant, metric) for variant in variants]
    values = [[_value(frame.loc[frame["seed"] == seed, "value"]) for seed in seeds] for frame in frames]
    differences = [None if a is None or b is None else a - b for a, b in zip(*values, strict=True)]
    return differences, np.zeros(0), 0


def judge(
    by_seed: Sequence[float],
    seeds: tuple[float | None, float | None],
    prompts: tuple[float | None, float | None],
    metric: Metric,
) -> Verdict:
    """Verdict on the sign of a difference.

    "supported" asks for both intervals to exclude 0: other seeds would give the same order, and so would other prompts.
    A metric over sets has no interval over prompts; then the seeds decide alone.
    """
    if not by_seed:
        return "no values"
    if metric.direction == "none":
        return "no direction"
    if all(value == 0 for value in by_seed):
        return "equal"
    if len(by_seed) < 2:
        return "one seed"
    if not (all(value > 0 for value in by_seed) or all(value < 0 for value in by_seed)):
        return "disagree"
    return "supported" if _excludes_zero(seeds) and (prompts[0] is None or _excludes_zero(prompts)) else "agree"


def _excludes_zero(interval: tuple[float | None, float | None]) -> bool:
    low, high = interval
    return low is not None and high is not None and (low > 0 or high < 0)


def _sentence(metric: Metric, row: Row, against: Row, by_seed: Sequence[float], verdict: Verdict) -> str:
    if verdict in ("no values", "no direction"):
        why = {"no values": "there are no pairs with values", "no direction": "neither direction is better"}[verdict]
        return f"{metric.label}: {row.label} and {against.label} are not ordered: {why}."
    mean, n = float(np.mean(by_seed)), len(by_seed)
    better = (mean > 0) == (metric.direction == "higher")
    word = "equal to" if verdict == "equal" else "better than" if better else "worse than"
    same = sum((value > 0) == (mean > 0) and value != 0 for value in by_seed)
    tails = {
        "supported": f"supported by the seeds ({same} of {n})",
        "agree": f"not supported: {same} of {n} seeds agree, and an interval includes 0",
        "disagree": f"not supported: the seeds disagree ({same} of {n})",
        "equal": f"no difference in any of {n} seeds",
        "one seed": "not supported: one seed says nothing about others",
    }
    return f"{metric.label}: {row.label} is {word} {against.label}: {tails[verdict]}."


def order_sentences(compared: Sequence[Difference], shown: Sequence[Metric]) -> list[str]:
    """For each metric with a direction, whether the seeds support the order of the rows as improvements."""
    sentences = []
    for metric in shown:
        steps = [one for one in compared if one.metric == metric.name and one.role == "previous"]
        if metric.direction == "none" or not steps:
            continue
        better = [one for one in steps if one.verdict == "supported" and _improves(one, metric)]
        worse = [one for one in steps if one.verdict == "supported" and not _improves(one, metric)]
        if len(better) == len(steps):
            text = "the order of the rows is supported by the seeds: each is better than the row before it"
        else:
            text = f"the order of the rows is not supported by the seeds: {len(better)} of {len(steps)} steps are"
            text += " improvements that they support"
            if worse:
                text += "; worse, and supported: " + ", ".join(one.row.label for one in worse)
        sentences.append(f"{metric.label}: {text}.")
    return sentences


def _improves(one: Difference, metric: Metric) -> bool:
    return one.difference is not None and (one.difference > 0) == (metric.direction == "higher")
