"""Verdicts: what is called better, same, worse or undecided, and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.check import Finding, MetricPolicy, Policy, calibrate, compare_runs, write_noise
from avbench.check.measure import measure_clips
from avbench.check.verdict import judge
from avbench.errors import UsageError


def found(comparison, metric="av_align") -> Finding:
    return next(finding for finding in comparison.findings if finding.metric == metric)


def verdict_of(before, after, direction="higher", policy=None, prompts=None) -> Finding:
    names = prompts or [str(number) for number in range(len(before))]
    measured = measure_clips(names, {"m": (np.asarray(before, float), np.asarray(after, float))}, policy or Policy())
    return judge([replace(measured["m"], direction=direction)], policy or Policy())[0]


def drawn(effect: float, n: int = 60, noise: float = 0.2, seed: int = 0):
    rng = np.random.default_rng(seed)
    prompt = rng.normal(size=n)
    return prompt + noise * rng.normal(size=n), prompt + noise * rng.normal(size=n) + effect


@pytest.mark.parametrize(
    ("effect", "direction", "verdict"),
    [
        (-0.5, "higher", "worse"),
        (0.5, "higher", "better"),
        (-0.5, "lower", "better"),
        (0.5, "lower", "worse"),
        (0.5, "keep", "worse"),
        (-0.5, "keep", "worse"),
        (0.0, "higher", "same"),
        (0.0, "keep", "same"),
        (0.5, None, "not judged"),
    ],
)
def test_direction_decides_what_a_difference_means(effect, direction, verdict):
    finding = verdict_of(*drawn(effect), direction)
    assert finding.verdict == verdict
    assert finding.difference == pytest.approx(effect, abs=0.1)


def test_a_pair_shows_what_two_means_do_not():
    before, after = drawn(-0.25, n=40, noise=0.1)
    assert abs(before.mean() - after.mean()) < before.std() / 2
    assert verdict_of(before, after).verdict == "worse"
    shuffled = np.random.default_rng(0).permutation(after)
    assert verdict_of(before, shuffled).verdict == "undecided"


def test_undecided_says_how_many_clips_would_decide():
    finding = verdict_of(*drawn(0.0, n=20, noise=0.5))
    assert finding.verdict == "undecided"
    assert f"about {finding.clips_needed} clips would decide" in finding.reason
    assert finding.clips_needed > 20
    assert verdict_of(*drawn(0.0, n=finding.clips_needed, noise=0.5, seed=1)).verdict == "same"


def test_below_the_relevant_difference_nothing_is_worse():
    before, after = drawn(-0.3, n=500)
    assert verdict_of(before, after).verdict == "worse"
    generous = Policy(metric={"m": MetricPolicy(min_difference=0.5)})
    assert verdict_of(before, after, policy=generous).verdict == "same"
    just_above = 1.02 * abs((after - before).mean())
    finding = verdict_of(before, after, policy=Policy(metric={"m": MetricPolicy(min_difference=just_above)}))
    assert finding.verdict == "undecided"
    assert "perhaps below the minimal relevant one" in finding.reason


def test_no_relevant_difference_leaves_no_room_for_the_same():
    finding = verdict_of(*drawn(0.0), policy=Policy(min_effect=0))
    assert (finding.verdict, finding.clips_needed) == ("undecided", None)
    assert "min_difference = 0" in finding.reason


def test_equal_scores_are_the_same():
    assert verdict_of([0.0] * 10, [0.0] * 10, "lower").verdict == "same"


def test_very_few_prompts_decide_nothing():
    finding = verdict_of([0.0] * 5, [9.0] * 5)
    assert (finding.verdict, finding.reason) == ("undecided", "5 prompts have scores in both runs, 6 are the least")
    assert verdict_of([], []).verdict == "undecided"


def test_clips_of_one_prompt_count_once():
    difference = np.repeat([1, 1, 1, -0.6, 1, 1, -0.6, -0.6], 10)
    before = np.random.default_rng(3).normal(size=80)
    shared = before, before + difference
    prompts = [f"p{number // 10}" for number in range(80)]
    together, apart = verdict_of(*shared, prompts=prompts), verdict_of(*shared)
    assert (together.prompts, together.clips) == (8, 80)
    assert together.difference == pytest.approx(apart.difference)
    assert together.high - together.low > 2.5 * (apart.high - apart.low)
    assert apart.p < 0.05 < together.p


def test_a_candidate_without_scores_is_worse_and_not_ignored():
    before, after = drawn(0.0)
    finding = verdict_of(before, np.where(np.arange(60) < 20, np.nan, after))
    assert finding.verdict == "worse"
    assert "20 of 60 clips lost their score and 0 gained one" in finding.reason
    assert verdict_of(before, np.full(60, np.nan)).verdict == "worse"


def test_a_candidate_that_gains_scores_is_not_worse():
    before, after = drawn(0.0)
    finding = verdict_of(np.where(np.arange(60) < 20, np.nan, before), after)
    assert finding.verdict == "undecided"
    assert "max_unpaired = 0.1" in finding.reason


def test_scores_that_come_and_go_alike_leave_it_undecided_from_a_limit_on():
    before, after = drawn(0.0)
    holed = np.where(np.arange(60) < 5, np.nan, before), np.where(np.arange(60) >= 55, np.nan, after)
    assert verdict_of(*holed).verdict == "undecided"
    assert verdict_of(*holed, policy=Policy(max_unpaired=0.2)).verdict == "same"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1, 1), st.sampled_from(["higher", "lower"]))
def test_swapping_the_runs_swaps_better_and_worse(seed, effect, direction):
    before, after = drawn(effect, seed=seed, n=30)
    policy = Policy(metric={"m": MetricPolicy(min_difference=0.2)})
    there, back = verdict_of(before, after, direction, policy), verdict_of(after, before, direction, policy)
    assert back.verdict == {"better": "worse", "worse": "better"}.get(there.verdict, there.verdict)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1, 1), st.floats(1e-6, 1e6), st.floats(-100, 100))
def test_the_unit_of_a_metric_does_not_matter(seed, effect, scale, shift):
    before, after = drawn(effect, seed=seed, n=30)
    plain = verdict_of(before, after)
    other = verdict_of(scale * (before + shift), scale * (after + shift))
    turned = verdict_of(-before, -after, "lower")
    assert plain.verdict == other.verdict == turned.verdict
    assert other.difference == pytest.approx(scale * plain.difference, rel=1e-6, abs=scale * 1e-9)


def test_all_metrics_share_one_budget_of_false_alarms():
    before, after = drawn(-0.12, n=60, noise=0.3)
    alone = verdict_of(before, after, policy=Policy(min_effect=0.0))
    scores = {"m": (before, after)} | {f"other{number}": drawn(0.0, seed=number + 1) for number in range(30)}
    measured = measure_clips([str(n) for n in range(60)], scores, Policy(min_effect=0.0))
    many = judge([replace(finding, direction="higher") for finding in measured.values()], Policy(min_effect=0.0))[0]
    assert alone.p == many.p
    assert many.p_holm > alone.p_holm


def test_runs_are_compared_and_the_code_follows(pair):
    worse = compare_runs(*pair(-0.5))
    assert found(worse).verdict == "worse"
    assert (worse.exit_code(False), worse.exit_code(True)) == (1, 1)
    assert worse.headline == "regression in av_align (1 worse)"
    assert found(worse, "loudness").verdict == "not judged"


def test_undecided_counts_only_when_strict(pair):
    unclear = compare_runs(*pair(0.0, n=10))
    assert (unclear.exit_code(False), unclear.exit_code(True)) == (0, 5)


def test_a_neutral_metric_can_be_told_to_keep_its_value(pair):
    policy = Policy(metric={"loudness": MetricPolicy("keep", 2.0)})
    assert compare_runs(*pair(), policy).names("worse") == ["loudness"]


def test_a_run_against_itself_is_the_same_and_noted(pair):
    _, baseline = pair()
    same = compare_runs(baseline, baseline)
    assert found(same).verdict == "same"
    assert "both runs judged the same files" in same.notes


def test_without_any_direction_there_is_nothing_to_check(make_run, tmp_path):
    one, two = (make_run(tmp_path / name, {"loudness": np.arange(9.0)}) for name in ("one", "two"))
    with pytest.raises(UsageError, match=r"set one in the policy: \[metric.NAME\]"):
        compare_runs(one, two)


def test_the_reason_of_lost_scores_is_told(make_run, tmp_path):
    values = np.random.default_rng(0).normal(size=40)
    baseline = make_run(tmp_path / "one", {"av_align": values})
    mute = make_run(tmp_path / "two", {"av_align": np.full(40, np.nan)})
    assert found(compare_runs(mute, baseline)).reason.endswith("mostly: no sound track")


class TestSets:
    """Metrics over sets have one number for all clips."""

    @pytest.fixture
    def runs(self, make_run, tmp_path):
        values = np.random.default_rng(0).normal(size=30)

        def make(name, fvd, **changes):
            return make_run(tmp_path / name, {"av_align": values}, sets={"fvd": fvd}, **changes)

        return make

    @pytest.fixture
    def noise(self, runs, tmp_path):
        repeats = [runs(f"repeat{n}", value) for n, value in enumerate((300.0, 302.0, 299.0, 301.0, 300.5))]
        write_noise(calibrate(repeats), tmp_path / "noise.toml")
        return tmp_path / "noise.toml"

    def test_without_a_floor_nothing_is_claimed(self, runs):
        finding = found(compare_runs(runs("c", 900.0), runs("b", 300.0)), "fvd")
        assert (finding.verdict, finding.p, finding.low) == ("undecided", None, None)
        assert finding.reason == "no per-clip scores, and no noise floor; calibrate it"

    def test_the_floor_decides(self, runs, noise):
        policy = Policy(noise=noise)
        baseline = runs("b", 300.0)
        assert found(compare_runs(runs("c", 330.0), baseline, policy), "fvd").verdict == "worse"
        assert found(compare_runs(runs("d", 270.0), baseline, policy), "fvd").verdict == "better"
        finding = found(compare_runs(runs("e", 303.0), baseline, policy), "fvd")
        assert finding.verdict == "undecided"
        assert "not beyond the noise floor" in finding.reason

    def test_a_relevant_difference_allows_the_same(self, runs, noise):
        policy = Policy(noise=noise, metric={"fvd": MetricPolicy(min_difference=20)})
        baseline = runs("b", 300.0)
        assert found(compare_runs(runs("c", 303.0), baseline, policy), "fvd").verdict == "same"
        finding = found(compare_runs(runs("d", 317.0), baseline, policy), "fvd")
        assert (finding.verdict, finding.reason) == (
            "undecided",
            "a real difference, but perhaps below the minimal relevant one",
        )

    def test_a_floor_of_other_prompts_is_not_used(self, make_run, tmp_path, noise):
        one, two = (
            make_run(tmp_path / name, {"av_align": np.arange(20.0)}, sets={"fvd": value})
            for name, value in (("b", 300.0), ("c", 900.0))
        )
        comparison = compare_runs(two, one, Policy(noise=noise))
        assert found(comparison, "fvd").verdict == "undecided"
        assert any("calibrated on other prompts" in note for note in comparison.notes)

    def test_a_missing_value_is_undecided_with_its_reason(self, runs):
        finding = found(compare_runs(runs("c", None), runs("b", 300.0)), "fvd")
        assert (finding.verdict, finding.reason) == ("undecided", "no value in the candidate: no sound track")
