"""How often the shown interval holds the truth: simulations, in session `slow`."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from avbench.metrics.distances import frechet_distance, polynomial_mmd
from avbench.statistics import mean_interval
from avbench.statistics.intervals import jackknife_interval

pytestmark = pytest.mark.slow


def coverage(draw, truth, times=4000):
    """Fraction of shown intervals that hold the truth, and fraction of draws that show one."""
    rng = np.random.default_rng(0)
    found = [mean_interval(*draw(rng)) for _ in range(times)]
    shown = [one for one in found if one.low is not None]
    return np.mean([one.low <= truth <= one.high for one in shown]), len(shown) / times


def clustered(prompts, samples, between):
    """Normal scores, `between` of whose variance lies between prompts."""
    clusters = np.repeat(np.arange(prompts), samples).tolist()

    def draw(rng):
        means = np.sqrt(between) * rng.normal(size=(prompts, 1))
        return (means + np.sqrt(1 - between) * rng.normal(size=(prompts, samples))).ravel(), clusters

    return draw


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        pytest.param(clustered(9, 1, 0), 0, id="9x1"),
        pytest.param(clustered(30, 4, 0.5), 0, id="30x4-half"),
        pytest.param(clustered(30, 4, 0.8), 0, id="30x4-four-fifths"),
        pytest.param(clustered(175, 8, 0.5), 0, id="175x8"),
        pytest.param(lambda rng: (rng.standard_t(3, size=9), None), 0, id="t3-9"),
        pytest.param(lambda rng: (rng.standard_t(3, size=30), None), 0, id="t3-30"),
        pytest.param(lambda rng: (rng.standard_t(3, size=175), None), 0, id="t3-175"),
        pytest.param(lambda rng: ((rng.random(100) < 0.05) * 1.0, None), 0.05, id="rare-100"),
        pytest.param(lambda rng: ((rng.random(175) < 0.05) * 1.0, None), 0.05, id="rare-175"),
        pytest.param(lambda rng: ((rng.random(1400) < 0.05) * 1.0, None), 0.05, id="rare-1400"),
        pytest.param(lambda rng: (rng.exponential(size=20), None), 1, id="exponential-20"),
        pytest.param(lambda rng: (rng.exponential(size=175), None), 1, id="exponential-175"),
    ],
)
def test_shown_intervals_cover_95_percent(draw, truth):
    covered, shown = coverage(draw, truth)
    assert 0.93 <= covered <= 0.97
    assert shown >= 0.95


@pytest.mark.parametrize(("prompts", "expected"), [(9, 0.86), (120, 0.93)])
def test_extreme_tails_are_covered_as_little_as_the_docs_say(prompts, expected):
    covered, _ = coverage(lambda rng: (rng.lognormal(sigma=1.5, size=prompts), None), np.exp(1.5**2 / 2))
    assert covered == pytest.approx(expected, abs=0.012)


def test_fractions_of_samples_within_prompts_are_covered():
    def draw(rng):
        p = rng.beta(0.05, 0.95, size=(175, 1))  # half of the variance between prompts
        return ((rng.random((175, 8)) < p) * 1.0).ravel(), np.repeat(np.arange(175), 8).tolist()

    covered, shown = coverage(draw, 0.05, times=1500)
    assert 0.93 <= covered <= 0.97 and shown == 1


def test_unequal_numbers_of_samples_are_covered():
    sizes = np.random.default_rng(1).geometric(0.3, 40)
    clusters = np.repeat(np.arange(40), sizes)

    def draw(rng):
        return rng.normal(size=40)[clusters] + rng.normal(size=len(clusters)), clusters.tolist()

    covered, _ = coverage(draw, 0)
    assert 0.93 <= covered <= 0.975


@pytest.mark.parametrize("distance", [frechet_distance, lambda a, b: polynomial_mmd(a, b, centred=False)])
def test_distances_between_sets_are_covered(distance):
    """The truth is the expected distance of sets of this size: their bias is part of it."""
    rng = np.random.default_rng(2)
    real = rng.normal(size=(400, 6)).astype(np.float32)

    def features():
        return (rng.normal(size=(60, 6)) * 1.3 + 0.5).astype(np.float32)

    truth = np.mean([distance(features(), real) for _ in range(2000)])
    hits = []
    for _ in range(600):
        fake = features()
        part = partial(lambda fake, use: distance(fake[use], real), fake)
        found = jackknife_interval(part, distance(fake, real), list(range(60)))
        hits.append(found.low <= truth <= found.high)
    assert 0.92 <= np.mean(hits) <= 0.98
