"""The tables of the page: summary, models, categories, glossary. Data frames in, plain values out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from avbench.report.plots import Point, distribution, interval_bar
from avbench.report.tables import (
    NONE,
    decimals_for,
    direction,
    format_interval,
    format_mean,
    format_problems,
    format_unit,
    format_value,
)
from avbench.statistics.summary import clusters_of, summarize, summarize_sets

if TYPE_CHECKING:
    import pandas as pd

    from avbench.results import Run

COLOUR_STEPS = (0.2, 0.5, 0.8, 1.2)
"""Standardised differences from which a cell is coloured; the first three are Cohen's small to large."""
FEWEST_COLOURED = 2
NO_SPREAD = (math.nan, math.nan)
"""Overall mean and deviation of a metric that has one value for all clips: its cells are not coloured."""


@dataclass(frozen=True)
class MetricRow:
    """One metric in the summary, written out."""

    name: str
    family: str
    arrow: str
    unit: str
    mean: str
    median: str
    counts: str
    problems: str
    has_errors: bool
    hint: str
    bar: Markup
    plot: Markup


@dataclass(frozen=True)
class Cell:
    """One cell of the category map: text, how strongly it is coloured, and why."""

    mean: str
    n: str
    colour: str
    hint: str


@dataclass(frozen=True)
class CategoryMap:
    """Categories by metrics; `aspects` holds (aspect, [(category, cells)])."""

    metrics: tuple[str, ...]
    aspects: tuple[tuple[str, list[tuple[str, list[Cell]]]], ...]


def metric_facts(run: Run, name: str) -> Mapping[str, Any]:
    """What run.json knows about a metric; empty for an unknown one."""
    facts = (run.info.get("metrics") or {}).get(name)
    return facts if isinstance(facts, dict) else {}


def metric_decimals(run: Run) -> dict[str, int]:
    """Decimal places per metric in the run's order, so that its values can be compared at a glance."""
    good = run.scores[run.scores["status"] == "ok"]
    largest = good["value"].abs().groupby(good["metric"]).max().to_dict()
    return {str(name): decimals_for([largest.get(name)]) for name in dict.fromkeys(run.scores["metric"])}


def clip_scores(run: Run) -> pd.DataFrame:
    """Rows of single clips; those of sets of clips are left out."""
    return run.scores[run.scores["scope"] == "clip"]


def set_scores(run: Run) -> pd.DataFrame:
    """Rows of sets of clips: all of them, and each category."""
    return run.scores[run.scores["scope"] != "clip"]


def summary_rows(run: Run, index: Mapping[str, int]) -> list[MetricRow]:
    """One row per metric, families together, in the run's order."""
    scores = clip_scores(run)
    entries = summarize(scores, clusters_of(run.clips)) + summarize_sets(set_scores(run))[0]
    rows = [_metric_row(run, entry, scores, index) for entry in entries]
    families = list(dict.fromkeys(row.family for row in rows))
    return sorted(rows, key=lambda row: families.index(row.family))


def _metric_row(run: Run, entry: dict[str, Any], scores: pd.DataFrame, index: Mapping[str, int]) -> MetricRow:
    name = str(entry["metric"])
    facts = metric_facts(run, name)
    good = scores[(scores["metric"] == name) & (scores["status"] == "ok")]
    points = [
        Point(float(value), str(clip), index.get(str(clip)))
        for value, clip in zip(good["value"], good["clip_id"], strict=True)
        if math.isfinite(value)
    ]
    hint = " ".join(f"{str(facts[key]).rstrip('.')}." for key in ("summary", "caveat") if facts.get(key))
    return MetricRow(
        name=name,
        family=str(facts.get("family") or "other").replace("_", " "),
        arrow=direction(facts),
        unit=format_unit(facts),
        mean=format_interval(entry),
        median=format_value(entry["median"]),
        counts=f"{entry['n_ok']} of {entry['n']}",
        problems=format_problems(entry),
        has_errors=bool(entry["n_error"]),
        hint=hint,
        bar=interval_bar(entry, [p.value for p in points], facts.get("range") or ()),
        plot=distribution(entry, points),
    )


def model_table(run: Run) -> tuple[list[str], list[tuple[str, str, list[str]]]]:
    """Model names, and per metric its name, arrow and one text per model; both empty below two models."""
    scores = clip_scores(run)
    models = [str(model) for model in dict.fromkeys(scores["model"].dropna())]
    if len(models) < 2:
        return [], []
    found = {
        (str(e["model"]), str(e["metric"])): format_mean(e)
        for e in summarize(scores, clusters_of(run.clips), ["model"])
    }
    metrics = dict.fromkeys(map(str, scores["metric"]))
    return models, [
        (metric, direction(metric_facts(run, metric)), [found.get((model, metric), NONE) for model in models])
        for metric in metrics
    ]


def category_map(run: Run) -> CategoryMap | None:
    """Mean and count per category and metric; None where no clip has a category or no metric has a value."""
    good = run.scores[(run.scores["status"] == "ok") & (run.scores["scope"] == "clip")]
    joined = good.merge(run.categories, on="clip_id")
    if joined.empty:
        return None
    overall = good.groupby("metric", sort=False)["value"].agg(["mean", "std"])
    columns = (overall["mean"].tolist(), overall["std"].tolist())
    spread = dict(zip(map(str, overall.index), zip(*columns, strict=True), strict=True))
    decimals = metric_decimals(run)
    metrics = tuple(name for name in decimals if name in spread)
    cells = joined.groupby(["aspect", "category", "metric"], sort=False)["value"].agg(["mean", "count"])
    found = {
        key: (float(mean), int(n)) for key, mean, n in zip(cells.index, cells["mean"], cells["count"], strict=True)
    }
    for entry in summarize_sets(set_scores(run))[1]:
        if entry["mean"] is not None:
            found[entry["aspect"], entry["category"], entry["metric"]] = (entry["mean"], entry["n_ok"])
    metrics += tuple(dict.fromkeys(name for _, _, name in found if name not in spread))
    names = run.categories[["aspect", "category"]].drop_duplicates().sort_values(["aspect", "category"])
    aspects: dict[str, list[tuple[str, list[Cell]]]] = {}
    for aspect, category in zip(names["aspect"], names["category"], strict=True):
        row = []
        for metric in metrics:
            value = found.get((aspect, category, metric))
            row.append(_cell(metric_facts(run, metric), value, *spread.get(metric, NO_SPREAD), decimals[metric]))
        aspects.setdefault(str(aspect), []).append((str(category), row))
    return CategoryMap(metrics, tuple(aspects.items()))


def _cell(
    facts: Mapping[str, Any], found: tuple[float, int] | None, overall: float, spread: float, decimals: int
) -> Cell:
    if found is None:
        return Cell(NONE, "", "", "no value")
    mean, n = found
    text = format_value(mean, decimals)
    hint = f"mean {text} of {n}; all clips {format_value(overall, decimals)}"
    if not spread > 0 or n < FEWEST_COLOURED:
        return Cell(text, str(n), "", hint)
    difference = (mean - overall) / spread
    hint += f"; {abs(difference):.1f} SD {'above' if difference > 0 else 'below'}"
    step = sum(abs(difference) >= limit for limit in COLOUR_STEPS)
    higher = facts.get("higher_is_better")
    kind = "n" if higher is None else "b" if (difference > 0) == higher else "w"
    return Cell(text, str(n), f"{kind}{step}" if step else "", hint)


def glossary(run: Run, names: Sequence[str]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Per metric its name, summary, and labelled facts."""
    return [
        (name, str(metric_facts(run, name).get("summary") or ""), _facts(metric_facts(run, name))) for name in names
    ]


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    bounds = facts.get("range") or ()
    span = " to ".join("open" if b is None else f"{b:g}" for b in bounds) if bounds else ""
    good = {"↑": "higher is better", "↓": "lower is better"}.get(direction(facts), "neither is better")
    pairs = [
        ("Unit", format_unit(facts) or "plain number"),
        ("Range", span),
        ("Direction", good),
        ("Source", facts.get("source")),
        ("Checkpoint", facts.get("checkpoint")),
        ("Licence of weights", facts.get("licence")),
        ("Version", facts.get("version")),
        ("Caveat", facts.get("caveat")),
    ]
    return [(label, str(value)) for label, value in pairs if value not in (None, "")] if facts else []
