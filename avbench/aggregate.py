"""Rows to means: n, mean, 95 % bootstrap interval, median, failures by reason. Tables in, tables out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

BOOTSTRAP_SAMPLES = 2000
BOOTSTRAP_SEED = 20260101
_BLOCK = 100_000  # draws held at a time: memory does not depend on the number of clips


def bootstrap_interval(
    values: NDArray[np.float64],
    *,
    level: float = 0.95,
    samples: int = BOOTSTRAP_SAMPLES,
    seed: int = BOOTSTRAP_SEED,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean.

    Args:
        values: finite float64 (n,).
        level: coverage, 0..1.
        samples: resamplings.
        seed: seed of the generator, so that the same rows give the same interval.

    Returns:
        (low, high), or None for fewer than two values, where no interval exists.
    """
    if len(values) < 2:
        return None
    generator = np.random.default_rng(seed)
    means = np.empty(samples)
    for block in np.array_split(np.arange(samples), max(1, samples * len(values) // _BLOCK)):
        draws = generator.integers(0, len(values), size=(len(block), len(values)))
        means[block] = values[draws].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def summarize(scores: pd.DataFrame, by: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One entry per metric (and per value of `by`, columns of `scores`).

    Returns:
        Dicts with the `by` columns, metric, n (rows), n_ok, n_skipped, n_error, mean, low, high, median
        (null without an ok row; low and high null below two), and `reasons`: {reason: count}.
    """
    entries = []
    keys = [*by, "metric"]
    for key, group in scores.groupby(keys, sort=False, dropna=False, observed=True):
        good = group[group["status"] == "ok"]
        values = good["value"].to_numpy(dtype=np.float64)
        interval = bootstrap_interval(values)
        bad = group[group["status"] != "ok"]
        entries.append(
            dict(zip(keys, key, strict=True))
            | {
                "n": len(group),
                "n_ok": len(good),
                "n_skipped": int((group["status"] == "skipped").sum()),
                "n_error": int((group["status"] == "error").sum()),
                "mean": float(values.mean()) if len(values) else None,
                "low": interval[0] if interval else None,
                "high": interval[1] if interval else None,
                "median": float(np.median(values)) if len(values) else None,
                "reasons": {str(k): int(v) for k, v in bad["reason"].astype(str).value_counts().items()},
            }
        )
    return entries


def summarize_sets(scores: pd.DataFrame) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries of metrics over sets of clips, in the form of `summarize`: overall, and per category.

    `mean` is the value of the set; there is no interval. `n` is the number of clips, `n_ok` those with features.
    """
    overall, categories = [], []
    for row in scores.to_dict("records"):
        detail = json.loads(row["detail"])
        clips = int(detail.get("clips", 0))
        ok = clips - int(detail.get("without_features", 0))
        value = float(row["value"]) if row["status"] == "ok" else None
        entry = {
            "metric": row["metric"], "n": clips, "n_ok": ok, "n_skipped": 0, "n_error": clips - ok, "mean": value,
            "low": None, "high": None, "median": value, "reasons": {row["reason"]: 1} if row["reason"] else {},
        }  # fmt: skip
        aspect, _, category = row["scope"].partition("/")
        if row["scope"] == "all":
            overall.append(entry)
        else:
            categories.append({"aspect": aspect, "category": category} | entry)
    return overall, categories


def summarize_run(scores: pd.DataFrame, categories: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Overall, per category and per model entries; the latter two empty where there is nothing to split."""
    over_sets, set_categories = summarize_sets(scores[scores["scope"] != "clip"])
    scores = scores[scores["scope"] == "clip"]
    joined = scores.merge(categories, on="clip_id")
    models = scores["model"].dropna().unique()
    return {
        "overall": summarize(scores) + over_sets,
        "categories": (summarize(joined, ["aspect", "category"]) if len(joined) else []) + set_categories,
        "models": summarize(scores, ["model"]) if len(models) > 1 else [],
    }


def summarize_parts(parts: Iterable[pd.DataFrame], categories: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The content of summary.json from a score table that comes one metric at a time."""
    found = [summarize_run(scores, categories) for scores in parts]
    return {key: [entry for part in found for entry in part[key]] for key in ("overall", "categories", "models")}
