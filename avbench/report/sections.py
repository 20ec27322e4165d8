"""The parts of the page: summary, distributions, models, categories, glossary. Data frames in, plain values out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from avbench.direction import Direction
from avbench.pages.dots import Point, distribution, interval_bar
from avbench.pages.numbers import NONE, decimals_for, format_value, no_interval
from avbench.pages.svg import Chart
from avbench.pages.table import Cell, Column, Row, Table
from avbench.report.tables import (
    SUMMARY_COLUMNS,
    format_mean,
    format_problems,
    format_unit,
    interval,
    summary_cells,
)
from avbench.statistics.summary import clusters_of, ranges_of, summarize, summarize_sets

if TYPE_CHECKING:
    import pandas as pd

    from avbench.results import Run

COLOUR_STEPS = (0.2, 0.5, 0.8, 1.2)
"""Standardised differences from which a cell is coloured; the first three are Cohen's small to large."""
FEWEST_COLOURED = 2
_JOINED = ["clip_id", "metric", "value"]
NO_STATISTICS = (math.nan, math.nan)
"""Overall mean and standard deviation of a metric that has one value for all clips: its cells are not coloured."""


@dataclass(frozen=True)
class MapCell:
    """One cell of the category map: text, how strongly it is coloured, and why."""

    mean: str
    n: str
    colour: str
    hint: str


@dataclass(frozen=True)
class CategoryMap:
    """Categories by metrics; `aspects` holds (aspect, [(category, cells)])."""

    metrics: tuple[str, ...]
    aspects: tuple[tuple[str, list[tuple[str, list[MapCell]]]], ...]


@dataclass(frozen=True)
class Summary:
    """Every metric of a run, families together: its names, a table, and a chart of all values of each that has any."""

    metrics: list[str]
    table: Table
    plots: list[Chart]


def metric_metadata(run: Run, name: str) -> Mapping[str, Any]:
    """Metadata of a metric in run.json; empty for an unknown one."""
    metadata = (run.info.get("metrics") or {}).get(name)
    return metadata if isinstance(metadata, dict) else {}


def metric_decimals(run: Run) -> dict[str, int]:
    """Decimals per metric in the run's order, so that its values can be compared at a glance."""
    good = run.scores[run.scores["status"] == "ok"]
    largest = good["value"].abs().groupby(good["metric"], observed=True).max().to_dict()
    return {str(name): decimals_for([largest.get(name)]) for name in dict.fromkeys(run.scores["metric"])}


def clip_scores(run: Run) -> pd.DataFrame:
    """Rows of single clips; those of sets of clips are left out."""
    return run.scores[run.scores["scope"] == "clip"]


def set_scores(run: Run) -> pd.DataFrame:
    """Rows of sets of clips: all of them, and each category."""
    return run.scores[run.scores["scope"] != "clip"]


def summarise_metrics(run: Run, index: Mapping[str, int]) -> Summary:
    """The summary of a run; `index` holds the clips that the page shows, with their rows."""
    scores = clip_scores(run)
    entries = summarize(scores, clusters_of(run.clips), ranges_of(run.info)) + summarize_sets(set_scores(run))[0]
    families = {name: _family(run, name) for name in dict.fromkeys(str(entry["metric"]) for entry in entries)}
    order = list(dict.fromkeys(families.values()))
    entries.sort(key=lambda entry: order.index(families[entry["metric"]]))
    rows, plots = [], []
    for number, entry in enumerate(entries):
        points = _points(scores, str(entry["metric"]), index)
        rows.append(_summary_row(run, number, entry, points))
        plots.append(_distribution(run, entry, points))
    table = Table("Summary", SUMMARY_COLUMNS, tuple(rows))
    return Summary([str(entry["metric"]) for entry in entries], table, [plot for plot in plots if plot.parts])


def _family(run: Run, name: str) -> str:
    return str(metric_metadata(run, name).get("family") or "other").replace("_", " ")


def _distribution(run: Run, entry: dict[str, Any], points: Sequence[Point]) -> Chart:
    metadata = metric_metadata(run, entry["metric"])
    heading = Column(
        entry["metric"], entry["metric"], unit=format_unit(metadata), direction=Direction.of_metadata(metadata)
    ).heading
    return distribution(f"{heading}, {entry['n_ok']} of {entry['n']}", entry["mean"], interval(entry), points)


def _points(scores: pd.DataFrame, name: str, index: Mapping[str, int]) -> list[Point]:
    good = scores[(scores["metric"] == name) & (scores["status"] == "ok")]
    return [
        Point(float(value), str(clip), index.get(str(clip)))
        for value, clip in zip(good["value"], good["clip_id"], strict=True)
        if math.isfinite(value)
    ]


def _summary_row(run: Run, number: int, entry: dict[str, Any], points: Sequence[Point]) -> Row:
    name = str(entry["metric"])
    metadata = metric_metadata(run, name)
    hint = " ".join(f"{str(metadata[key]).rstrip('.')}." for key in ("summary", "caveat") if metadata.get(key))
    bar = interval_bar(name, entry["mean"], interval(entry), [p.value for p in points], metadata.get("range") or ())
    metric, way, mean, *middle, problems = summary_cells(entry, metadata, format_problems(entry))
    cells = (
        replace(metric, hint=hint, link=f"#metric-{number}"),
        way,
        replace(mean, drawing=bar.drawing("chart beam") if bar.parts else None),
        *middle,
        replace(problems, tone="bad" if entry["n_error"] else "quiet"),
    )
    return Row(cells, group=_family(run, name))


def model_table(run: Run) -> Table | None:
    """Every metric of every model; None below two models."""
    scores = clip_scores(run)
    models = [str(model) for model in dict.fromkeys(scores["model"].dropna())]
    if len(models) < 2:
        return None
    summaries = summarize(scores, clusters_of(run.clips), ranges_of(run.info), ["model"])
    entries = {(str(entry["model"]), str(entry["metric"])): entry for entry in summaries}
    rows = []
    for metric in dict.fromkeys(map(str, scores["metric"])):
        cells = [_mean_of(entries.get((model, metric))) for model in models]
        rows.append(Row((Cell(metric), Cell(Direction.of_metadata(metric_metadata(run, metric)).arrow), *cells)))
    return Table("Models", (*SUMMARY_COLUMNS[:2], *(Column(model, model) for model in models)), tuple(rows))


def _mean_of(entry: dict[str, Any] | None) -> Cell:
    return Cell() if entry is None else Cell(format_mean(entry), note=no_interval(interval(entry)))


def category_map(run: Run) -> CategoryMap | None:
    """Mean and count per category and metric; None where no clip has a category or no metric has a value."""
    good = run.scores.loc[(run.scores["status"] == "ok") & (run.scores["scope"] == "clip"), _JOINED]
    joined = good.merge(run.categories.astype({"clip_id": good["clip_id"].dtype}), on="clip_id")
    if joined.empty:
        return None
    overall = good.groupby("metric", sort=False, observed=True)["value"].agg(["mean", "std"])
    columns = (overall["mean"].tolist(), overall["std"].tolist())
    statistics = dict(zip(map(str, overall.index), zip(*columns, strict=True), strict=True))
    decimals = metric_decimals(run)
    metrics = tuple(name for name in decimals if name in statistics)
    cells = joined.groupby(["aspect", "category", "metric"], sort=False, observed=True)["value"].agg(["mean", "count"])
    means = {
        key: (float(mean), int(n)) for key, mean, n in zip(cells.index, cells["mean"], cells["count"], strict=True)
    }
    for entry in summarize_sets(set_scores(run))[1]:
        if entry["mean"] is not None:
            means[entry["aspect"], entry["category"], entry["metric"]] = (entry["mean"], entry["n_ok"])
    metrics += tuple(dict.fromkeys(name for _, _, name in means if name not in statistics))
    names = run.categories[["aspect", "category"]].drop_duplicates().sort_values(["aspect", "category"])
    aspects: dict[str, list[tuple[str, list[MapCell]]]] = {}
    for aspect, category in zip(names["aspect"], names["category"], strict=True):
        row = []
        for metric in metrics:
            value = means.get((aspect, category, metric))
            row.append(
                _cell(metric_metadata(run, metric), value, *statistics.get(metric, NO_STATISTICS), decimals[metric])
            )
        aspects.setdefault(str(aspect), []).append((str(category), row))
    return CategoryMap(metrics, tuple(aspects.items()))


def _cell(
    metadata: Mapping[str, Any], value: tuple[float, int] | None, overall: float, std: float, decimals: int
) -> MapCell:
    if value is None:
        return MapCell(NONE, "", "", "no value")
    mean, n = value
    text = format_value(mean, decimals)
    hint = f"mean {text} of {n}; all clips {format_value(overall, decimals)}"
    if not std > 0 or n < FEWEST_COLOURED:
        return MapCell(text, str(n), "", hint)
    difference = (mean - overall) / std
    hint += f"; {abs(difference):.1f} SD {'above' if difference > 0 else 'below'}"
    step = sum(abs(difference) >= limit for limit in COLOUR_STEPS)
    kind = {True: "b", False: "w", None: "n"}[Direction.of_metadata(metadata).better(difference)]
    return MapCell(text, str(n), f"{kind}{step}" if step else "", hint)


def glossary(run: Run, names: Sequence[str]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Name, summary and labelled metadata of each metric."""
    return [
        (name, str(metric_metadata(run, name).get("summary") or ""), _labelled(metric_metadata(run, name)))
        for name in names
    ]


def _labelled(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    bounds = metadata.get("range") or ()
    span = " to ".join("open" if b is None else f"{b:g}" for b in bounds) if bounds else ""
    good = Direction.of_metadata(metadata).phrase
    pairs = [
        ("Unit", format_unit(metadata) or "plain number"),
        ("Range", span),
        ("Direction", good),
        ("Source", metadata.get("source")),
        ("Checkpoint", metadata.get("checkpoint")),
        ("Licence of weights", metadata.get("licence")),
        ("Version", metadata.get("version")),
        ("Caveat", metadata.get("caveat")),
    ]
    return [(label, str(value)) for label, value in pairs if value not in (None, "")] if metadata else []
