"""From paired scores to findings without verdicts: means, differences, intervals, p values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avbench.check.noise import MetricNoise
from avbench.check.policy import Policy
from avbench.check.verdict import Finding
from avbench.statistics import mean_intervals
from avbench.statistics.tests import Floats, repeat_run_p, run_floor, sign_flip_test

Scores = tuple[Floats, Floats]
"""Scores of the baseline and of the candidate, float64 (clips,) in the same order; NaN where there is none."""


def measure_clips(prompts: Sequence[str], scores: Mapping[str, Scores], policy: Policy) -> dict[str, Finding]:
    """Findings of metrics of single clips, without unit, direction, floor and verdict.

    Clips of one prompt depend on each other, so each prompt counts once, with the mean over its clips.

    Args:
        prompts: the prompt of each clip.
        scores: by metric.
        policy: for the minimal relevant differences.
    """
    paired = {name: np.isfinite(baseline) & np.isfinite(candidate) for name, (baseline, candidate) in scores.items()}
    known = {name: [np.where(paired[name], side, np.nan) for side in pair] for name, pair in scores.items()}
    baseline, candidate = (
        _over_prompts(prompts, {name: pair[side] for name, pair in known.items()}) for side in (0, 1)
    )
    lost = _over_prompts(prompts, {n: np.isfinite(b) * 1.0 - np.isfinite(c) for n, (b, c) in scores.items()})
    table = candidate - baseline  # (prompts, metrics)
    p, intervals = sign_flip_test(np.hstack([table, lost])), mean_intervals(table)
    findings = {}
    for column, (name, (before, after)) in enumerate(scores.items()):
        differences = table[np.isfinite(table[:, column]), column]
        some, several = len(differences) > 0, len(differences) > 1
        only_before = np.isfinite(before) & ~np.isfinite(after)
        only_after = np.isfinite(after) & ~np.isfinite(before)
        findings[name] = Finding(
            metric=name,
            unit="",
            kind="clip",
            direction=None,
            baseline=float(np.nanmean(baseline[:, column])) if some else None,
            candidate=float(np.nanmean(candidate[:, column])) if some else None,
            difference=float(differences.mean()) if some else None,
            low=intervals[column].low,
            high=intervals[column].high,
            min_difference=_margin(name, before[paired[name]], policy),
            floor=None,
            sd=float(differences.std(ddof=1)) if several else None,
            prompts=len(differences),
            clips=int(paired[name].sum()),
            asked=len(before),
            lost=int(only_before.sum()),
            gained=int(only_after.sum()),
            p=float(p[column]) if some else None,
            p_lost=float(p[len(scores) + column]) if (only_before | only_after).any() else None,
        )
    return findings


def _over_prompts(prompts: Sequence[str], columns: Mapping[str, Floats]) -> Floats:
    """Means (prompts, columns) over the known values of each prompt; NaN without any."""
    import pandas as pd

    keys = pd.Series(list(prompts))
    return np.asarray(pd.DataFrame(dict(columns)).groupby(keys, sort=False).mean().to_numpy(float))


def _margin(name: str, baseline: Floats, policy: Policy) -> float:
    """The minimal relevant difference: the policy's own, or a fraction of the scatter of the baseline's clips."""
    min_difference = policy.of(name).min_difference
    if min_difference is not None:
        return min_difference
    return policy.min_effect * float(baseline.std(ddof=1)) if len(baseline) > 1 else 0.0


def measure_set(
    name: str, rows: tuple[Mapping[str, Any], Mapping[str, Any]], policy: Policy, floor: MetricNoise | None
) -> Finding:
    """The finding of a metric over sets of clips, without unit, direction and verdict.

    One number for all clips has no scatter of its own; what it is worth is known from repeated runs alone.

    Args:
        name: the metric.
        rows: score rows of baseline and candidate.
        policy: for the minimal relevant difference.
        floor: from repeated runs over the same prompts, or None.
    """
    before, after = (float(row["value"]) if row["status"] == "ok" else None for row in rows)
    sides = zip(("baseline", "candidate"), rows, strict=True)
    reasons = [f"no value in the {side}: {row['reason']}" for side, row in sides if row["status"] != "ok"]
    difference = after - before if before is not None and after is not None else None
    reach = run_floor(floor.run_sd, floor.runs) if floor else None
    return Finding(
        metric=name,
        unit="",
        kind="set",
        direction=None,
        baseline=before,
        candidate=after,
        difference=difference,
        low=difference - reach if difference is not None and reach is not None else None,
        high=difference + reach if difference is not None and reach is not None else None,
        min_difference=policy.of(name).min_difference,
        floor=reach,
        sd=None,
        prompts=0,
        clips=0,
        asked=0,
        p=repeat_run_p(difference, floor.run_sd, floor.runs) if difference is not None and floor else None,
        reason="; ".join(reasons),
    )
