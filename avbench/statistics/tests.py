"""Tests of paired differences, corrections for many tests, and the noise of repeated runs.

Arrays in, numbers out. A missing score is NaN here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avbench.statistics.distributions import f_tail, normal_quantile, t_quantile, t_tail
from avbench.statistics.intervals import LEVEL, MIN_CLUSTERS

Floats = NDArray[np.float64]

RESAMPLES = 4999
MIN_PROMPTS = MIN_CLUSTERS
"""2 / 2**6 is the first below 5 %: with fewer prompts, no pattern of signs is rare enough to mean anything."""
_SEED = 20260101
_BLOCK = 2_000_000  # random numbers held at a time: memory does not depend on the number of prompts
_SAME = 1e-9  # sums of the same numbers in another order differ by rounding


def sign_flip_test(table: Floats, resamples: int = RESAMPLES, seed: int = _SEED) -> Floats:
    """Two-sided p of each column's mean when the signs of whole rows are drawn at random.

    Two runs of one checkpoint can be exchanged, prompt by prompt, without anyone noticing. So under "nothing changed"
    every pattern of signs is as likely as the one seen, whatever the scores look like: no normal distribution is
    assumed, and metrics that depend on each other stay together.

    Args:
        table: differences (prompts, M); NaN where a prompt has none.
        resamples: patterns drawn.
        seed: of the generator, so that the same runs give the same p.

    Returns:
        float64 (M,) in (0, 1]; 1 for a column of zeros.
    """
    known = np.nan_to_num(table)
    observed = np.abs(known.sum(axis=0)) - _SAME * np.abs(known).sum(axis=0)
    as_far = np.zeros(table.shape[1])
    for draws in _blocks(len(table), resamples, seed):
        signs = np.where(draws < 0.5, -1.0, 1.0)  # (block, prompts)
        as_far += (np.abs(signs @ known) >= observed).sum(axis=0)
    return np.asarray((1 + as_far) / (1 + resamples))


def _blocks(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Uniform numbers (block, n), `resamples` rows in all."""
    generator = np.random.default_rng(seed)
    rows = max(1, _BLOCK // max(n, 1))
    for start in range(0, resamples, rows):
        yield generator.random((min(rows, resamples - start), n))


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number, after Holm (1979): one false alarm among all of them is as rare as alpha."""
    order = np.argsort(p, kind="stable")
    steps = np.arange(len(p), 0, -1) * np.asarray(p, dtype=np.float64)[order]
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in corrected]


@dataclass(frozen=True)
class PairedSummary:
    """One metric compared over prompts: their number, mean difference, standard deviation of the differences."""

    prompts: int
    difference: float
    sd: float


def prompts_needed(seen: PairedSummary, margin: float, tests: int, alpha: float) -> int | None:
    """How many prompts would bring a verdict.

    With so many, the interval reaches half the margin to each side, so that neither "no difference" nor one of 1.5
    margins stays open, and a difference of one margin passes the strictest corrected test. Where that many were
    judged already, the difference lies close to the margin: then the number at which the interval ends there.

    Args:
        seen: what there is.
        margin: minimal relevant difference.
        tests: how many p values were corrected together.
        alpha: fraction of false alarms that is accepted.

    Returns:
        The number, or None where no number of prompts helps (no margin).
    """
    if margin <= 0 or seen.sd <= 0:
        return None
    usual, strict = normal_quantile((1 - LEVEL) / 2), normal_quantile(alpha / (2 * max(tests, 1)))
    wanted = _square(seen.sd / margin * max(2 * usual, strict))
    if wanted <= seen.prompts:
        gap = abs(margin - abs(seen.difference))
        wanted = _square(seen.sd / gap * usual) if gap > margin * _SAME else math.inf
    return math.ceil(wanted) if seen.prompts < wanted < 1e9 else None


def _square(value: float) -> float:
    """The square, infinite where it is too large: the operator ** would raise an OverflowError instead."""
    return value * value


@dataclass(frozen=True)
class RunNoise:
    """How much runs of the same checkpoint differ.

    Attributes:
        clip_sd: standard deviation over prompts of the difference between two runs.
        run_sd: standard deviation of a run's mean.
        floor: difference of two runs' means that repeated runs stay within, 95 % of the time.
        source: where the floor comes from: "clips" where the clips explain it, "runs" where whole runs differ more
            than their clips explain.
    """

    clip_sd: float
    run_sd: float
    floor: float
    source: str


def run_noise(table: Floats, level: float = LEVEL) -> RunNoise:
    """Standard deviation between repeated runs from a complete table of scores.

    An analysis of variance over prompts and runs. If runs differ by no more than the scatter of their clips (F test
    at 1 - level), the scatter, which many clips tell well, gives the floor; otherwise the runs' means do, and few
    runs tell those badly: the floor is then high.

    Args:
        table: scores (prompts, runs), both at least 2, no NaN.
        level: fraction of repeated runs that stay within the floor.
    """
    n, runs = table.shape
    means = table.mean(axis=0)
    rest = table - means - table.mean(axis=1, keepdims=True) + table.mean()
    scatter = float((rest**2).sum()) / ((n - 1) * (runs - 1))
    between = n * float(means.var(ddof=1))
    whole = between > 0 and (scatter == 0 or f_tail(between / scatter, runs - 1, (n - 1) * (runs - 1)) < 1 - level)
    variance, df = (between, runs - 1) if whole else (scatter, (n - 1) * (runs - 1))
    floor = t_quantile((1 - level) / 2, df) * math.sqrt(2 * variance / n)
    return RunNoise(math.sqrt(2 * scatter), float(means.std(ddof=1)), floor, "runs" if whole else "clips")


def run_floor(run_sd: float, runs: int, level: float = LEVEL) -> float:
    """Difference of two runs that repeated runs stay within, from the standard deviation of a few runs."""
    return t_quantile((1 - level) / 2, runs - 1) * math.sqrt(2) * run_sd


def repeat_run_p(difference: float, run_sd: float, runs: int) -> float:
    """Two-sided p of a difference of two runs, from the standard deviation of `runs` repeated runs."""
    if difference == 0 or run_sd == 0:
        return 1.0 if difference == 0 else 0.0
    return 2 * t_tail(abs(difference) / (math.sqrt(2) * run_sd), runs - 1)
