"""Intervals against scipy and statsmodels, and their invariances; coverage is measured in test_coverage.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from avbench.statistics import MIN_CLUSTERS, mean_interval, mean_intervals, seed_interval
from avbench.statistics.distributions import f_tail, normal_quantile, t_quantile, t_tail
from avbench.statistics.intervals import jackknife_interval


def symmetric(n: int) -> np.ndarray:
    """Normal scores: without skewness, so that Hall's correction is nothing."""
    return stats.norm.ppf((np.arange(n) + 0.5) / n)


@pytest.mark.parametrize("n", [6, 9, 30, 175])
def test_independent_symmetric_values_have_the_t_interval(n):
    values = 3 + 2 * symmetric(n)
    found = mean_interval(values)
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values)))
    assert (found.mean, found.clusters, found.reason) == (pytest.approx(3), n, "")


def test_equal_clusters_have_the_t_interval_of_their_means():
    means = symmetric(20)
    within = np.array([-0.5, 0.5, -0.1, 0.1])
    values = (means[:, None] + within).ravel()
    found = mean_interval(values, np.repeat(np.arange(20), 4).tolist())
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 19, means.mean(), stats.sem(means)))


def test_the_variance_is_that_of_statsmodels_for_clusters():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(400), rng.integers(1, 5, 400))
    values = rng.normal(size=400)[groups] + rng.normal(size=len(groups))
    fit = statsmodels.api.OLS(values, np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": groups})
    found = mean_interval(values, groups.tolist())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * fit.bse[0], rel=0.03)
    assert found.mean == pytest.approx(fit.params[0])


def test_fractions_have_the_mid_p_interval():
    for successes, n in ((1, 9), (5, 60), (87, 175), (174, 175)):
        values = np.r_[np.ones(successes), np.zeros(n - successes)]
        found = mean_interval(values)
        own = [stats.binom.pmf(successes, n, end) / 2 for end in (found.low, found.high)]
        assert stats.binom.sf(successes, n, found.low) + own[0] == pytest.approx(0.025, abs=1e-6)
        assert stats.binom.cdf(successes, n, found.high) - own[1] == pytest.approx(0.025, abs=1e-6)


def test_two_values_of_any_size_are_a_fraction():
    flags = np.r_[np.ones(7), np.zeros(53)]
    found, percent = mean_interval(flags), mean_interval(100 * flags - 20)
    assert [percent.low, percent.high] == pytest.approx([100 * found.low - 20, 100 * found.high - 20])
    # One exception among flags is a count of one; among scores it does not tell how rare it is.
    assert mean_interval([1.0, *[0.0] * 9]).low is not None and mean_interval([0.7, *[0.2] * 9]).low is None


def test_quantiles_and_tails_are_those_of_scipy():
    for tail, df in ((0.025, 1), (0.025, 8.3), (0.0005, 174), (0.4, 3)):
        assert t_quantile(tail, df) == pytest.approx(stats.t.isf(tail, df), rel=1e-12)
        assert t_tail(1.7, df) == pytest.approx(stats.t.sf(1.7, df), rel=1e-12)
        assert normal_quantile(tail) == pytest.approx(stats.norm.isf(tail), rel=1e-12)
        assert f_tail(2.1, df, 12) == pytest.approx(stats.f.sf(2.1, df, 12), rel=1e-12)


def test_a_fraction_of_samples_that_repeat_each_other_counts_prompts():
    prompts = np.random.default_rng(1).random(40) < 0.4
    one, eight = (
        mean_interval(prompts * 1.0),
        mean_interval(np.repeat(prompts * 1.0, 8), np.repeat(np.arange(40), 8).tolist()),
    )
    assert eight.low == pytest.approx(one.low, abs=0.02) and eight.high == pytest.approx(one.high, abs=0.02)
    assert eight.high - eight.low > 0.95 * (one.high - one.low)


def test_skewed_values_reach_further_towards_their_tail():
    values = np.random.default_rng(2).exponential(size=12)
    found = mean_interval(values)
    t_low, t_high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert found.high - found.mean > 1.1 * (t_high - values.mean())
    assert found.low == pytest.approx(t_low)
    mirrored = mean_interval(-values)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(
    ("values", "clusters", "words"),
    [
        ([], None, "fewer than 6"),
        ([1.0], None, "fewer than 6"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], None, "fewer than 6"),
        ([1.0, 2.0, 3.0] * 10, list("abc") * 10, "fewer than 6"),
        ([0.0] * 50, None, "are equal"),
        ([0.25] * 50, None, "are equal"),
        ([0.25] * 50 + [0.5], None, "are equal"),
        ([0.0] * 40 + [1.0] * 5, [*range(40), *[40] * 5], "are equal"),
    ],
)
def test_where_no_interval_holds_there_is_a_reason(values, clusters, words):
    found = mean_interval(values, clusters)
    assert (found.low, found.high) == (None, None)
    assert words in found.reason
    assert found.mean == (pytest.approx(np.mean(values)) if values else None)
    assert not found.excludes_zero


def test_values_and_clusters_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="one cluster per value"):
        mean_interval([1.0, 2.0], ["a"])


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, st.integers(MIN_CLUSTERS, 40), elements=st.floats(-100, 100)),
    st.floats(0.1, 50),
    st.floats(-1e3, 1e3),
)
def test_units_and_order_do_not_matter(values, scale, shift):
    clusters = [number // 2 for number in range(len(values))] if len(values) >= 2 * MIN_CLUSTERS else None
    found = mean_interval(values, clusters)
    order = np.random.default_rng(0).permutation(len(values))
    moved = mean_interval(values[order] * scale + shift, clusters and [clusters[i] for i in order])
    if np.isin(values, (0, 1)).all() or len(np.unique(values * scale + shift)) < len(np.unique(values)):
        return  # fractions have bounds; rounding merges values
    assert (found.low is None) == (moved.low is None)
    if found.low is not None:
        expected = [found.low * scale + shift, found.high * scale + shift]
        assert [moved.low, moved.high] == pytest.approx(
            expected, rel=1e-6, abs=1e-6 * (scale * np.abs(values).max() + abs(shift))
        )
        assert found.low <= found.mean <= found.high


@pytest.mark.parametrize("exponent", [-1060, -600, -200, 300, 900])
def test_intervals_hold_in_any_unit(exponent):
    """Squares of the first three vanish as floats, and those of the last two overflow."""
    rng = np.random.default_rng(4)
    unit = math.ldexp(1.0, exponent)
    pairs = list(range(10)) * 2
    for values, clusters in (
        (np.round(rng.normal(size=20), 2), None),
        (np.repeat([0.75, 0.25], 10), None),
        (rng.choice([0.75, 0.25], 20), pairs),
        (np.round(rng.exponential(size=20), 2), pairs),
    ):
        plain, moved = mean_interval(values, clusters), mean_interval(values * unit, clusters)
        assert moved.low is not None
        assert [moved.mean, moved.low, moved.high] == pytest.approx(
            [plain.mean * unit, plain.low * unit, plain.high * unit], rel=2e-2 if exponent < -1022 else 1e-12, abs=0
        )
    plain, moved = seed_interval([1.0, 2.0, 4.0]), seed_interval([unit, 2 * unit, 4 * unit])
    assert [moved.low, moved.high] == pytest.approx([plain.low * unit, plain.high * unit], rel=1e-3, abs=0)
    left_out = jackknife_interval(lambda use: float(values[use].mean() * unit), float(values.mean() * unit), pairs)
    assert left_out.high > left_out.mean > left_out.low


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=MIN_CLUSTERS, max_size=60), st.integers(1, 4))
def test_fractions_stay_between_0_and_1(values, size):
    found = mean_interval(np.repeat(values, size) * 1.0, np.repeat(np.arange(len(values)), size).tolist())
    if found.low is not None:
        assert 0 <= found.low <= found.mean <= found.high <= 1


def test_columns_leave_missing_prompts_out():
    table = np.random.default_rng(3).normal(size=(30, 2))
    holed = np.vstack([table, [[np.nan, np.nan], [np.nan, 5.0]]])
    assert mean_intervals(holed)[0] == mean_interval(table[:, 0])
    assert mean_intervals(holed)[1].clusters == 31


def test_runs_have_a_t_interval_from_two_on():
    found = seed_interval([1.0, 2.0, 4.0])
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 2, 7 / 3, stats.sem([1, 2, 4])))
    assert seed_interval([1.0]).reason == "fewer than 2 runs"
    assert seed_interval([]).mean is None


def test_the_jackknife_of_a_mean_is_the_interval_of_the_mean():
    values = symmetric(20)
    found = jackknife_interval(lambda use: float(values[use].mean()), float(values.mean()), list(range(20)))
    plain = mean_interval(values)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high))


def test_the_jackknife_of_a_correlation_agrees_with_fishers_interval():
    rng = np.random.default_rng(4)
    x = rng.normal(size=2000)
    y = 0.6 * x + 0.8 * rng.normal(size=2000)

    def fisher(use):
        return math.atanh(np.corrcoef(x[use], y[use])[0, 1])

    found = jackknife_interval(fisher, fisher(x < np.inf), list(range(2000)))
    assert (found.high - found.low) / 2 == pytest.approx(1.96 / math.sqrt(1997), rel=0.4)


def test_the_jackknife_says_why_it_has_no_interval():
    few = jackknife_interval(lambda use: float(use.sum()), 3.0, ["a", "b", "c"])
    assert (few.mean, few.low, few.reason) == (3, None, "fewer than 6 prompts")
    undefined = jackknife_interval(lambda use: math.nan if not use[0] else 1.0, 1.0, list(range(9)))
    assert undefined.low is None and "undefined" in undefined.reason
