"""How scores respond to damage: means per severity, Spearman's rho, and whether the score moved the way it should."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avbench.direction import Direction
from avbench.metrics.base import Scorer
from avbench.statistics import mean_interval
from avbench.validity.corruption_scorer import Row
from avbench.validity.corruptions import CORRUPTIONS

Verdict = Literal["gets worse", "gets better", "rises", "falls", "unclear", "no change", "too few clips"]
Floats = NDArray[np.float64]

MIN_CLIPS = 5
"""With fewer clips there is no verdict: what holds for four may hold for these four alone."""

LEVEL = 0.05
"""A direction is stated where p is at most this and the interval over clips leaves out 0."""

_SHUFFLES = 2000
_SEED = 20260102
_SAME = 1e-6
"""Changes below this fraction of the largest value are rounding, not response."""


@dataclass(frozen=True)
class Response:
    """How one metric answers one corruption.

    Attributes:
        labels: the severities as text, the untouched clip first.
        direction: which way the metric is better.
        means, counts: mean score and number of clips with a score, at each level.
        rho: Spearman's correlation of score and level over clips x levels; None where no score ever changes.
        clip_rho: mean over clips of each clip's own correlation, 0 for a clip whose score never changes.
        interval: 95 % interval of `clip_rho` over clips, within [-1, 1]; None below six clips, and where all clips, or
            all but one, answer alike.
        p: fraction of shuffles of each clip's scores over its levels with a `clip_rho` as far from 0; None without
            clips.
        compared, worse: clips with a score at the first and at the last level, and how many of them got worse. `worse`
            is None where neither direction is good.
        statuses: number of rows by status.
        reasons: number of rows by reason, without those that have a score.
    """

    metric: str
    corruption: str
    labels: tuple[str, ...]
    direction: Direction
    means: tuple[float | None, ...]
    counts: tuple[int, ...]
    rho: float | None
    clip_rho: float | None
    interval: tuple[float, float] | None
    p: float | None
    compared: int
    worse: int | None
    statuses: dict[str, int]
    reasons: dict[str, int]
    verdict: Verdict


def respond(rows: Sequence[Row], scorers: Sequence[Scorer]) -> list[Response]:
    """One response per metric and corruption, in the order of `rows`.

    Args:
        rows: in the order that a study gives them.
        scorers: the metrics of these rows.
    """
    directions = {scorer.name: scorer.direction for scorer in scorers}
    labels = {corruption.name: corruption.labels for corruption in CORRUPTIONS}
    return [
        _response(list(group), labels[corruption], directions[metric])
        for (metric, corruption), group in groupby(rows, key=lambda row: (row.metric, row.corruption))
    ]


def _response(rows: Sequence[Row], labels: tuple[str, ...], direction: Direction) -> Response:
    table = score_table(rows, len(labels))  # (clips, levels)
    scored = np.isfinite(table)
    usable = _rounded(table[scored[:, 0] & scored[:, 1:].any(axis=1)])
    each = clip_rhos(usable)
    mean = float(each.mean()) if len(each) else None
    interval = _rho_interval(each)
    p = shuffle_p(usable, mean) if mean is not None else None
    ends = _rounded(table[scored[:, 0] & scored[:, -1]])
    better = [direction.better(float(move)) for move in ends[:, -1] - ends[:, 0]]
    return Response(
        metric=rows[0].metric,
        corruption=rows[0].corruption,
        labels=labels,
        direction=direction,
        means=tuple(float(c[ok].mean()) if ok.any() else None for c, ok in zip(table.T, scored.T, strict=True)),
        counts=tuple(int(column.sum()) for column in scored.T),
        rho=pooled_rho(usable) if _changes(usable) else None,
        clip_rho=mean,
        interval=interval,
        p=p,
        compared=len(ends),
        worse=None if direction is Direction.NEITHER else better.count(False),
        statuses=dict(Counter(row.status for row in rows)),
        reasons=dict(Counter(row.reason for row in rows if row.status != "ok")),
        verdict=_verdict(usable, mean, interval, p, direction),
    )


def _rho_interval(rhos: Floats) -> tuple[float, float] | None:
    interval = mean_interval(rhos).within(-1.0, 1.0)
    return None if interval.low is None or interval.high is None else (interval.low, interval.high)


def _verdict(
    table: Floats, mean: float | None, interval: tuple[float, float] | None, p: float | None, direction: Direction
) -> Verdict:
    if len(table) < MIN_CLIPS or mean is None or p is None:
        return "too few clips"
    if not _changes(table):
        return "no change"
    # Without an interval the clips answer alike, and the shuffles alone say whether that may be chance.
    if p > LEVEL or (interval is not None and interval[0] <= 0 <= interval[1]):
        return "unclear"
    better = direction.better(mean)
    if better is None:
        return "rises" if mean > 0 else "falls"
    return "gets better" if better else "gets worse"


def score_table(rows: Sequence[Row], levels: int) -> Floats:
    """Scores (clips, levels); NaN inside this package stands for a status without a number."""
    clips = list(dict.fromkeys(row.clip_id for row in rows))
    position = {clip_id: index for index, clip_id in enumerate(clips)}
    table = np.full((len(clips), levels), np.nan)
    for row in rows:
        if row.value is not None:
            table[position[row.clip_id], row.level] = row.value
    return table


def unit_ranks(values: Floats) -> Floats:
    """Ranks (n,) with mean 0 and length 1, so that their product is Spearman's rho; zeros where all are equal."""
    from scipy.stats import rankdata

    ranks = rankdata(values) - (len(values) + 1) / 2
    length = float(np.sqrt((ranks**2).sum()))
    return np.asarray(ranks / length if length > 0 else ranks, dtype=np.float64)


def clip_rhos(table: Floats) -> Floats:
    """Each clip's own correlation (clips,) of its known scores and their levels; 0 where its score never changes."""
    return np.array([scores @ levels for scores, levels in _ranked(table)])


def _ranked(table: Floats) -> list[tuple[Floats, Floats]]:
    """For each clip the ranks of its known scores, and those of their levels."""
    known = [np.flatnonzero(np.isfinite(row)) for row in table]
    return [
        (unit_ranks(row[where]), unit_ranks(where.astype(np.float64))) for row, where in zip(table, known, strict=True)
    ]


def pooled_rho(table: Floats) -> float:
    """Spearman's correlation of score and level over all known clips x levels."""
    known = np.isfinite(table)
    levels = np.broadcast_to(np.arange(table.shape[1], dtype=np.float64), table.shape)
    return float(unit_ranks(table[known]) @ unit_ranks(levels[known]))


def shuffle_p(table: Floats, observed: float) -> float:
    """Two-sided p of the mean of `clip_rhos` when each clip's scores are shuffled over its levels.

    It compares each clip with itself only, so it does not mind how much clips differ.
    """
    generator = np.random.default_rng(_SEED)
    total = np.zeros(_SHUFFLES)
    for scores, levels in _ranked(table):
        order = generator.random((_SHUFFLES, len(scores))).argsort(axis=1)
        total += scores[order] @ levels
    as_far = np.abs(total / len(table)) >= abs(observed) - 1e-9
    return float((1 + as_far.sum()) / (1 + _SHUFFLES))


def _changes(table: Floats) -> bool:
    """Whether any clip's score (clips, levels) changes at all."""
    return bool(len(table)) and bool((np.nanmax(table, axis=1) > np.nanmin(table, axis=1)).any())


def _rounded(table: Floats) -> Floats:
    scale = float(np.nanmax(np.abs(table), initial=0.0))
    return table if scale == 0 else np.asarray(np.round(table / scale / _SAME))
