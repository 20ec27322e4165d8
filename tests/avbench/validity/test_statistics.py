"""Correlations equal SciPy's; verdicts follow from order, direction and number of clips."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import spearmanr

from avbench.direction import Direction
from avbench.metrics.base import Score, Scorer
from avbench.validity.corruption_scorer import Row
from avbench.validity.statistics import MIN_CLIPS, clip_rhos, pooled_rho, respond, score_table, shuffle_p

CORRUPTION = "blur"
LEVELS = 5


def metric(higher_is_better: bool | None = True, name: str = "metric") -> Scorer:
    direction = Direction.of(higher_is_better)
    return Scorer(lambda *_: Score.ok(0), name, "", "1", direction, (0, 1), "", frozenset({"video"}), "family")


def make_rows(table, name: str = "metric") -> list[Row]:
    rows = []
    for clip, scores in enumerate(table):
        for level, value in enumerate(scores):
            ok = value is not None
            rows.append(
                Row(f"c{clip}", "sha", name, CORRUPTION, level, str(level), value, "ok" if ok else "skipped",
                    "" if ok else "no event")
            )  # fmt: skip
    return rows


def response(table, higher_is_better: bool | None = True):
    (found,) = respond(make_rows(table), [metric(higher_is_better)])
    return found


def falling(clips: int) -> list[list[float]]:
    """Clips that differ much, each of which falls a little."""
    return [[100.0 * clip - level for level in range(LEVELS)] for clip in range(clips)]


def test_correlations_equal_scipy():
    table = np.random.default_rng(0).integers(0, 6, (8, LEVELS)).astype(float)  # with ties
    levels = np.tile(np.arange(LEVELS), 8)
    assert pooled_rho(table) == pytest.approx(spearmanr(table.ravel(), levels).statistic, abs=1e-12)
    each = [spearmanr(row, np.arange(LEVELS)).statistic for row in table]
    np.testing.assert_allclose(clip_rhos(table), each, atol=1e-12)


def test_missing_scores_take_no_part():
    table = np.array([[3.0, np.nan, 2.0, np.nan, 1.0], [1.0, 2.0, np.nan, 3.0, 4.0]])
    np.testing.assert_allclose(clip_rhos(table), [-1, 1])
    known = np.isfinite(table)
    levels = np.broadcast_to(np.arange(LEVELS), table.shape)
    assert pooled_rho(table) == pytest.approx(spearmanr(table[known], levels[known]).statistic, abs=1e-12)


def test_p_equals_the_exact_share_of_permutations():
    table = np.array([[4.0, 3.0, 1.0, 2.0]])
    observed = clip_rhos(table)[0]
    exact = np.mean(
        [abs(spearmanr(order, range(4)).statistic) >= abs(observed) - 1e-9 for order in permutations(range(4))]
    )
    assert shuffle_p(table, observed) == pytest.approx(exact, abs=0.04)


def test_chance_is_called_chance():
    generator = np.random.default_rng(1)
    ps = []
    for _ in range(60):
        table = generator.normal(size=(7, LEVELS))
        ps.append(shuffle_p(table, clip_rhos(table).mean()))
    assert 0.3 < np.mean(ps) < 0.7
    assert np.mean(np.array(ps) <= 0.05) < 0.15


@pytest.mark.parametrize(
    ("higher_is_better", "verdict", "worse"),
    [(True, "gets worse", 7), (False, "gets better", 0), (None, "falls", None)],
)
def test_a_small_fall_of_every_clip_is_seen_however_much_clips_differ(higher_is_better, verdict, worse):
    found = response(falling(7), higher_is_better)
    assert (found.verdict, found.worse, found.compared) == (verdict, worse, 7)
    assert found.clip_rho == pytest.approx(-1)
    assert abs(found.rho) < 0.3
    assert found.p < 0.001
    assert found.means[0] == pytest.approx(300)
    assert found.counts == (7,) * LEVELS


def test_too_few_clips_give_no_verdict():
    assert response(falling(MIN_CLIPS - 1)).verdict == "too few clips"
    assert response(falling(MIN_CLIPS)).verdict == "gets worse"


def test_a_score_that_never_changes_is_no_change_and_has_no_correlation():
    found = response([[float(clip)] * LEVELS for clip in range(6)])
    assert (found.verdict, found.rho, found.clip_rho, found.worse) == ("no change", None, 0, 0)


def test_rounding_is_no_response():
    found = response([[clip + 1e-9 * level for level in range(LEVELS)] for clip in range(6)])
    assert found.verdict == "no change"


def test_opposite_clips_are_unclear():
    table = [[sign * level for level in range(LEVELS)] for sign in (1.0, -1.0, 1.0, -1.0, 1.0, -1.0)]
    assert response(table).verdict == "unclear"


def test_statuses_are_counted_and_never_numbers():
    table = falling(6)
    table[0] = [None] * LEVELS
    table[1][-1] = None
    found = response(table)
    assert found.statuses == {"ok": 24, "skipped": 6}
    assert found.reasons == {"no event": 6}
    assert found.counts == (5, 5, 5, 5, 4)
    assert found.compared == 4
    assert found.means[-1] == pytest.approx(np.mean([row[-1] for row in table[2:]]))


def test_nothing_but_statuses_gives_no_number():
    found = response([[None] * LEVELS] * 6)
    assert (found.means, found.rho, found.clip_rho, found.p) == ((None,) * LEVELS, None, None, None)
    assert found.verdict == "too few clips"


def test_table_is_clips_by_levels():
    table = score_table(make_rows([[1.0, None, 3.0, 4.0, 5.0]]), LEVELS)
    np.testing.assert_array_equal(table, [[1, np.nan, 3, 4, 5]])
