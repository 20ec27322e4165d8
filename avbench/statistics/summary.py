"""Summary statistics per metric: counts by status, mean with a 95 % interval, median, reasons for missing values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from avbench.clips import PROMPT_COLUMNS, PromptKey, prompt_key
from avbench.statistics.intervals import mean_interval

if TYPE_CHECKING:
    import pandas as pd

NOT_ASKED = "not asked"
"""`weights_digest` of rows of metrics that a suite does not ask of the clip: no summary counts them."""
_OLD_SET = "scored by a version without intervals of sets"
Ranges = Mapping[str, tuple[float, float]]
"""Least and greatest possible value of each metric; infinite where it is unbounded."""
_UNBOUNDED = (-math.inf, math.inf)


def clusters_of(clips: pd.DataFrame) -> dict[str, PromptKey]:
    """The prompt of each clip of a clip table, which its samples share; a clip without prompt stands for itself."""
    columns = (clips[name] for name in ("clip_id", *PROMPT_COLUMNS))
    return {
        clip_id: prompt_key(clip_id, *(value if isinstance(value, str) else None for value in row))
        for clip_id, *row in zip(*columns, strict=True)
    }


def ranges_of(info: Mapping[str, Any]) -> Ranges:
    """The range of each metric that run.json describes; null ends are infinite."""
    ranges = {name: metadata.get("range") for name, metadata in dict(info.get("metrics") or {}).items()}
    return {
        name: (-math.inf if ends[0] is None else ends[0], math.inf if ends[1] is None else ends[1])
        for name, ends in ranges.items()
        if ends
    }


def asked(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows of metrics that the suite asks of their clip."""
    rows = scores["weights_digest"] != NOT_ASKED
    return scores if rows.all() else scores[rows]  # most runs ask all: a copy of millions of rows less


def summarize(
    scores: pd.DataFrame, clusters: Mapping[str, PromptKey], ranges: Ranges, by: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """One entry per metric (and per value of `by`, columns of `scores`).

    Args:
        scores: rows of metrics of single clips; those that the suite does not ask for are passed over.
        clusters: the prompt of each clip, of `clusters_of`: the independent units of the intervals.
        ranges: of the metrics, of `ranges_of`: intervals end there. A metric that is missing is unbounded.
        by: columns to group by.

    Returns:
        Dicts with the `by` columns, metric, n (rows), n_ok, n_skipped, n_error, mean, low, high, median (null without
        an ok row), prompts (clusters behind the interval), no_interval (why low and high are null, "" where they are
        not), and `reasons`: {reason: count}.
    """
    entries = []
    keys = [*by, "metric"]
    for key, group in asked(scores).groupby(keys, sort=False, dropna=False, observed=True):
        good = group[group["status"] == "ok"]
        values = good["value"].to_numpy(dtype=np.float64)
        interval = mean_interval(values, [clusters[clip] for clip in good["clip_id"]])
        interval = interval.within(*ranges.get(str(key[-1]), _UNBOUNDED))
        bad = group[group["status"] != "ok"]
        entries.append(
            dict(zip(keys, key, strict=True))
            | {
                "n": len(group),
                "n_ok": len(good),
                "n_skipped": int((group["status"] == "skipped").sum()),
                "n_error": int((group["status"] == "error").sum()),
                "mean": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "median": float(np.median(values)) if len(values) else None,
                "prompts": interval.clusters,
                "no_interval": interval.reason if len(values) else "",
                "reasons": {str(k): int(v) for k, v in bad["reason"].astype(str).value_counts().items()},
            }
        )
    return entries


def summarize_sets(scores: pd.DataFrame) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries of metrics over sets of clips, in the form of `summarize`: overall, and per category.

    `mean` is the value of the set, the interval that of the jackknife over prompts, which `avbench score` computes
    where the features are. `n` is the number of clips, `n_ok` those with features.
    """
    overall, categories = [], []
    for row in scores.to_dict("records"):
        detail = json.loads(row["detail"])
        clips = int(detail.get("clips", 0))
        ok = clips - int(detail.get("without_features", 0))
        value = float(row["value"]) if row["status"] == "ok" else None
        entry = {
            "metric": row["metric"], "n": clips, "n_ok": ok, "n_skipped": 0, "n_error": clips - ok, "mean": value,
            **_set_interval(detail, value), "median": value, "reasons": {row["reason"]: 1} if row["reason"] else {},
        }  # fmt: skip
        aspect, _, category = row["scope"].partition("/")
        if row["scope"] == "all":
            overall.append(entry)
        else:
            categories.append({"aspect": aspect, "category": category} | entry)
    return overall, categories


def _set_interval(detail: Mapping[str, Any], value: float | None) -> dict[str, Any]:
    entry = {name: detail.get(name) for name in ("low", "high", "prompts")}
    reason = detail.get("no_interval", _OLD_SET) if value is not None and entry["low"] is None else ""
    return entry | {"no_interval": str(reason)}


def summarize_run(
    scores: pd.DataFrame, clusters: Mapping[str, PromptKey], categories: pd.DataFrame, ranges: Ranges
) -> dict[str, list[dict[str, Any]]]:
    """Overall, per category and per model entries; the latter two empty where there is nothing to split."""
    over_sets, set_categories = summarize_sets(scores[scores["scope"] != "clip"])
    scores = scores[scores["scope"] == "clip"]
    joined = scores.merge(categories, on="clip_id")
    models = scores["model"].dropna().unique()
    return {
        "overall": summarize(scores, clusters, ranges) + over_sets,
        "categories": (summarize(joined, clusters, ranges, ["aspect", "category"]) if len(joined) else [])
        + set_categories,
        "models": summarize(scores, clusters, ranges, ["model"]) if len(models) > 1 else [],
    }


def summarize_parts(
    parts: Iterable[pd.DataFrame], clusters: Mapping[str, PromptKey], categories: pd.DataFrame, ranges: Ranges
) -> dict[str, list[dict[str, Any]]]:
    """The content of summary.json from a score table that comes one metric at a time."""
    summaries = [summarize_run(scores, clusters, categories, ranges) for scores in parts]
    return {key: [entry for part in summaries for entry in part[key]] for key in ("overall", "categories", "models")}
