"""95 % confidence intervals with prompts as clusters: of means, of fractions, and of statistics over whole sets.

Samples of one prompt resemble each other, so clips are not independent: prompts are. Every interval here is computed
from what each prompt contributes, and its width is calibrated for few prompts and for skewed scores; the coverage is
measured in tests/avbench/statistics/test_coverage.py. Where no interval holds, there is a reason instead of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avbench.statistics.distributions import normal_quantile, t_quantile

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

LEVEL = 0.95
MIN_CLUSTERS = 6
"""With fewer prompts, skewed scores leave no interval of 95 % that would be of use, and no sign test can reject."""

_MOST_GROUPS = 20
_TINY = 1e-12


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval.

    Attributes:
        mean: mean over all values; None without any.
        low, high: ends of the interval; None where there is none.
        clusters: independent units that it rests on, usually prompts.
        reason: why there is no interval; "" where there is one.
    """

    mean: float | None
    low: float | None
    high: float | None
    clusters: int
    reason: str = ""

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval, with 0 outside."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def within(self, low: float, high: float) -> Interval:
        """The interval without what lies outside of the range of the values; unchanged where its mean lies outside."""
        if self.low is None or self.high is None or self.mean is None or not low <= self.mean <= high:
            return self
        # The true mean of values in a range lies in that range too, so what is cut off never held it: coverage stays.
        return replace(self, low=max(low, self.low), high=min(high, self.high))

    def times(self, unit: float) -> Interval:
        """The interval of the same values in another unit, which is greater than 0."""

        def scaled(value: float | None) -> float | None:
            return None if value is None else float(value * unit)

        return replace(self, mean=scaled(self.mean), low=scaled(self.low), high=scaled(self.high))

    def detail(self) -> dict[str, Any]:
        """What the detail of a row over many clips holds of it: both ends, or the reason for none."""
        if self.low is None or self.high is None:
            return {"no_interval": self.reason, "prompts": self.clusters}
        return {"low": self.low, "high": self.high, "prompts": self.clusters}


def mean_interval(values: ArrayLike, clusters: Sequence[Hashable] | None = None, level: float = LEVEL) -> Interval:
    """Mean over all values and its interval, with whole clusters as the independent units.

    The variance is that of the jackknife over clusters, whose values stay together. The interval reaches to each side
    as far as the wider of Student's t interval and Hall's interval, which corrects t for skewness; degrees of freedom
    are the effective number of clusters (Kish) minus 1. The mean of values of two kinds, as 0 and 1, is a fraction: it
    takes the mid-p Clopper-Pearson interval at the effective number of independent values (Korn and Graubard).

    Args:
        values: finite numbers (n,), for instance one per clip.
        clusters: what each value belongs to (n,), for instance prompt ids; None if all values are independent.
        level: coverage, 0..1.

    Returns:
        The interval. It has a reason instead of ends for fewer than `MIN_CLUSTERS` clusters, and where all values, or
        all but those of one cluster, are equal: rare exceptions do not tell how rare they are.

    Source: P. Hall, On the removal of skewness by transformation, JRSS B 54, 1992; E. Korn and B. Graubard, Confidence
        intervals for proportions with small expected number of positive counts, Survey Methodology 24, 1998; L. Kish,
        Survey Sampling, 1965.
    """
    numbers = np.asarray(values, dtype=np.float64)
    flags = bool(np.isin(numbers, (0.0, 1.0)).all())  # two values by definition, not by what was drawn
    numbers, unit = _in_unit(numbers)
    index, count = _index(clusters, len(numbers))
    mean = float(numbers.mean()) if len(numbers) else None
    if mean is None or count < MIN_CLUSTERS:
        return Interval(mean, None, None, count, f"fewer than {MIN_CLUSTERS} prompts").times(unit)
    low, high = float(numbers.min()), float(numbers.max())
    fractions = bool(np.isin(numbers, (low, high)).all())
    if _exceptions(numbers, index) < (1 if flags and count == len(numbers) else 2):
        reason = "all values, or all but those of one prompt, are equal"
        return Interval(mean, None, None, count, reason).times(unit)
    sizes = np.bincount(index, minlength=count).astype(np.float64)
    sums = np.bincount(index, numbers - mean, minlength=count)  # centred first, so that large means lose no digits
    pseudo = count * sums.sum() / sizes.sum() - (count - 1) * (sums.sum() - sums) / (sizes.sum() - sizes)
    effective = float(sizes.sum() ** 2 / np.square(sizes).sum())
    if fractions:
        span = high - low
        variance = float(pseudo.var(ddof=1)) / count / span**2
        ends = _fraction_interval((mean - low) / span, variance, len(numbers), effective, count, level)
        low, high = low + ends[0] * span, low + ends[1] * span
    else:
        below, above = _reach(pseudo, effective - 1, level)
        low, high = mean - below, mean + above
    return Interval(mean, low, high, count).times(unit)


def mean_intervals(table: Floats, level: float = LEVEL) -> list[Interval]:
    """One interval for each column of a table of prompts (n, M); NaN where a prompt has no value."""
    return [mean_interval(column[np.isfinite(column)], level=level) for column in table.T]


def seed_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Mean over a few repeated runs with Student's t interval.

    Each value is itself a mean over many prompts and so close to normally distributed; the t interval then holds from
    two runs on, as wide as it is there.

    Args:
        values: one mean per run.
        level: coverage, 0..1.
    """
    if len(values) < 2:
        return Interval(values[0] if values else None, None, None, len(values), "fewer than 2 runs")
    numbers, unit = _in_unit(np.asarray(values, dtype=np.float64))
    mean = float(numbers.mean())
    half = t_quantile((1 - level) / 2, len(values) - 1) * float(numbers.std(ddof=1)) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, len(values)).times(unit)


def jackknife_interval(
    statistic: Callable[[NDArray[np.bool_]], float], whole: float, clusters: Sequence[Hashable], level: float = LEVEL
) -> Interval:
    """A statistic of a set with its interval, from leaving out groups of clusters in turn.

    It serves statistics that are no means: distances between sets, correlations. The bootstrap would not do for
    distances: drawn again with replacement, a set holds duplicates, which makes every distance larger.

    Clusters are dealt into at most 20 groups, so that the cost does not grow with their number.

    Args:
        statistic: takes a mask (n,) of the values to use and gives the statistic of these.
        whole: the statistic of all values.
        clusters: what each value belongs to (n,).
        level: coverage, 0..1.

    Returns:
        The interval around the statistic of all values; a reason below `MIN_CLUSTERS` clusters, or where the statistic
        of some part is not finite.

    Source: J. Shao and D. Tu, The Jackknife and Bootstrap, 1995, section 2.3.
    """
    index, count = _index(clusters, len(clusters))
    if count < MIN_CLUSTERS:
        return Interval(whole, None, None, count, f"fewer than {MIN_CLUSTERS} prompts")
    groups = min(count, _MOST_GROUPS)
    group = _shuffled(count)[index] % groups
    parts = np.array([statistic(group != left_out) for left_out in range(groups)])
    if not np.isfinite([whole, *parts]).all():
        return Interval(whole, None, None, count, "undefined for a part of the prompts")
    scaled, unit = _in_unit(np.array([whole, *parts]))
    below, above = _reach(groups * scaled[0] - (groups - 1) * scaled[1:], groups - 1, level)
    return replace(Interval(float(scaled[0]), scaled[0] - below, scaled[0] + above, count).times(unit), mean=whole)


def _index(clusters: Sequence[Hashable] | None, n: int) -> tuple[Indices, int]:
    """Number of each value's cluster (n,), and how many clusters there are."""
    if clusters is None:
        return np.arange(n), n
    if len(clusters) != n:
        raise ValueError(f"{n} values of {len(clusters)} clusters: one cluster per value is needed")
    known: dict[Hashable, int] = {}
    index = np.array([known.setdefault(cluster, len(known)) for cluster in clusters], dtype=np.int64)
    return index, len(known)


def _in_unit(numbers: Floats) -> tuple[Floats, float]:
    """The numbers in a unit in which their squares neither vanish nor overflow, and that unit, a power of two."""
    greatest = float(np.abs(numbers).max(initial=0.0))
    _, exponent = math.frexp(greatest)
    exponent = min(max(exponent, -1000), 1000)  # of which the power is a float, and its inverse too
    # Digits stay: a power of two moves the exponent alone.
    return numbers * math.ldexp(1.0, -exponent), math.ldexp(1.0, exponent)


def _exceptions(numbers: Floats, index: Indices) -> int:
    """Clusters that hold another value than the commonest; of two values, clusters that hold the rarer of both.

    Where only one cluster differs, the variance between clusters is unknown.
    """
    distinct, inverse = np.unique(numbers, return_inverse=True)
    commonest = inverse == np.bincount(inverse).argmax()
    others = len(np.unique(index[~commonest]))
    return min(others, len(np.unique(index[commonest]))) if len(distinct) == 2 else others


def _reach(contributions: Floats, freedom: float, level: float) -> tuple[float, float]:
    """How far the interval of the mean of independent contributions (G,) reaches below and above it."""
    count = len(contributions)
    deviations = contributions - contributions.mean()
    variance = float(np.square(deviations).mean())
    if variance <= (_TINY * float(np.abs(contributions).max(initial=0.0))) ** 2:
        return 0.0, 0.0
    skewness = float(((deviations / math.sqrt(variance)) ** 3).mean())  # scaled first: cubes of tiny numbers vanish
    error = math.sqrt(variance / (count - 1))
    quantile = t_quantile((1 - level) / 2, max(freedom, 1.0))
    bend = skewness / (3 * math.sqrt(count))
    return error * max(quantile, _unbent(quantile, bend)), error * max(quantile, -_unbent(-quantile, bend))


def _unbent(quantile: float, bend: float) -> float:
    """Hall's transformation, inverted: the studentised mean whose skewness-corrected value is `quantile`."""
    if abs(bend) < 1e-6:
        return quantile - bend / 2
    return float(np.cbrt(1 + 3 * bend * (quantile - bend / 2)) - 1) / bend


def _fraction_interval(
    fraction: float, variance: float, n: int, effective: float, clusters: int, level: float
) -> tuple[float, float]:
    """Mid-p interval of a fraction of `n` values whose mean has this variance because of clusters."""
    independent = float(n)
    if clusters < n:
        inside = fraction * (1 - fraction) / variance if variance > 0 else float(n)
        tail = (1 - level) / 2
        wider = (normal_quantile(tail) / t_quantile(tail, max(effective - 1, 1.0))) ** 2
        independent = min(inside * wider, float(n))
    return _mid_p(fraction * independent, independent, level)


def _mid_p(successes: float, n: float, level: float) -> tuple[float, float]:
    """Clopper-Pearson limits with half of the observed count's own probability."""
    from scipy.optimize import brentq
    from scipy.special import betainc

    def at_least(p: float) -> float:
        # betainc(x, n - x + 1, p) is the probability of x or more successes, for whole and other x.
        return float(betainc(successes, n - successes + 1, p) + betainc(successes + 1, n - successes, p)) / 2

    tail = (1 - level) / 2
    return float(brentq(lambda p: at_least(p) - tail, 0, 1)), float(brentq(lambda p: 1 - at_least(p) - tail, 0, 1))


def _shuffled(count: int) -> Indices:
    """A fixed random order, so that clusters that lie beside each other do not fall into one group by their order."""
    return np.random.default_rng(20260101).permutation(count)
