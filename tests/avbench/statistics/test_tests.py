"""p values, corrections and noise floors against enumeration, formulas and known truth."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from avbench.statistics import tests as statistical_tests
from avbench.statistics.tests import (
    PairedSummary,
    holm,
    prompts_needed,
    repeat_run_p,
    run_floor,
    run_noise,
    sign_flip_test,
)


def test_the_sign_test_agrees_with_all_patterns_of_signs():
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.normal(0.6, 1, 10), rng.exponential(1, 10) - 0.2, np.zeros(10)])
    signs = np.array(list(product((-1, 1), repeat=10)))
    exact = (np.abs(signs @ table) >= np.abs(table.sum(axis=0)) - 1e-12).mean(axis=0)
    assert sign_flip_test(table, resamples=20_000) == pytest.approx(exact, abs=0.012)
    assert sign_flip_test(table)[2] == 1


def test_a_prompt_without_a_score_does_not_count():
    rng = np.random.default_rng(1)
    column = rng.normal(0.5, 1, 30)
    holed = np.r_[column, [np.nan] * 10][:, None]
    assert sign_flip_test(holed, 20_000)[0] == pytest.approx(sign_flip_test(column[:, None], 20_000)[0], abs=0.01)


def test_blocks_do_not_change_the_numbers(monkeypatch):
    table = np.random.default_rng(2).normal(0.2, 1, (40, 3))
    whole = sign_flip_test(table)
    monkeypatch.setattr(statistical_tests, "_BLOCK", 7 * 40)
    assert np.allclose(sign_flip_test(table), whole, atol=0)


def test_holm_is_the_textbook_correction():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_no_correction_and_bonferroni(p):
    corrected = holm(p)
    assert all(min(1, q) - 1e-12 <= c <= min(1, len(p) * q) + 1e-12 for q, c in zip(p, corrected, strict=True))
    assert sorted(corrected) == [corrected[i] for i in np.argsort(p, kind="stable")]


@settings(max_examples=50)
@given(st.floats(0.01, 10), st.floats(0.01, 10), st.integers(1, 40))
def test_the_planned_number_makes_the_interval_half_a_margin_wide(sd, margin, tests):
    needed = prompts_needed(PairedSummary(1, 0.0, sd), margin, tests, 0.05)
    half = stats.norm.isf(0.025) * sd / margin
    if needed is None:
        assert (sd / margin * max(2 * stats.norm.isf(0.025), stats.norm.isf(0.05 / 2 / tests))) ** 2 <= 1
    else:
        assert half / np.sqrt(needed) <= 0.5 * (1 + 1e-9)


def test_beyond_the_plan_the_difference_itself_decides():
    seen = PairedSummary(1000, 0.09, 1.0)
    needed = prompts_needed(seen, 0.1, 1, 0.05)
    assert needed is not None and needed > 1000
    planned = PairedSummary(5000, 0.09, 1.0)
    close = prompts_needed(planned, 0.1, 1, 0.05)
    assert close == pytest.approx((1.96 / 0.01) ** 2, rel=0.01)
    assert prompts_needed(PairedSummary(50, 0.1, 1.0), 0.0, 1, 0.05) is None
    assert prompts_needed(PairedSummary(5000, 0.1, 1.0), 0.1, 1, 0.05) is None
    assert prompts_needed(PairedSummary(50, 0.1, 1e200), 1e-3, 1, 0.05) is None  # more than a float can count


def test_scatter_of_clips_gives_a_floor_that_averages_out():
    rng = np.random.default_rng(5)
    spread = run_noise(rng.normal(size=(100, 1)) + rng.normal(0, 0.5, (100, 4)))
    assert spread.source == "clips"
    assert spread.clip_sd == pytest.approx(0.5 * np.sqrt(2), rel=0.1)
    assert spread.floor == pytest.approx(1.97 * spread.clip_sd / 10, rel=0.01)


def test_runs_that_differ_as_a_whole_give_a_higher_floor():
    rng = np.random.default_rng(6)
    table = rng.normal(size=(100, 1)) + rng.normal(0, 0.05, (100, 4)) + np.array([0, 0.3, -0.2, 0.1])
    spread = run_noise(table)
    assert spread.source == "runs"
    assert spread.floor == pytest.approx(stats.t.isf(0.025, 3) * np.sqrt(2) * table.mean(axis=0).std(ddof=1))
    assert spread.run_sd == pytest.approx(table.mean(axis=0).std(ddof=1))


def test_identical_runs_have_no_floor():
    spread = run_noise(np.repeat(np.arange(5.0)[:, None], 3, axis=1))
    assert (spread.floor, spread.run_sd) == (0, 0)


@pytest.mark.parametrize("between", [0.0, 1.0])
def test_new_runs_stay_within_the_floor_as_often_as_it_says(between):
    rng = np.random.default_rng(7)
    within = []
    for _ in range(600):
        table = rng.normal(0, 1, (30, 6)) + between * rng.normal(size=6)
        floor = run_noise(table[:, :4]).floor
        within.append(abs(table[:, 4].mean() - table[:, 5].mean()) <= floor)
    assert np.mean(within) == pytest.approx(0.95, abs=0.03)


def test_the_test_of_a_set_is_that_of_student():
    assert repeat_run_p(run_floor(2.0, 5), 2.0, 5) == pytest.approx(0.05)
    assert repeat_run_p(0.0, 0.0, 3) == 1
    assert repeat_run_p(0.1, 0.0, 3) == 0
    assert run_floor(1.0, 2) > 3.9 * run_floor(1.0, 4)
