"""Runs that came about in different ways are refused, and the message says what differs."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.check import Policy, compare_runs, load_policy
from avbench.errors import UsageError

VALUES = {"av_align": np.linspace(0, 1, 20), "desync": np.linspace(1, 0, 20)}


@pytest.fixture
def against(make_run, tmp_path):
    """Compares a run that has these differences with one that has none."""

    def compare(policy=None, scores=VALUES, **changes):
        baseline = make_run(tmp_path / "baseline", VALUES, sets={"fvd": 300.0})
        candidate = make_run(tmp_path / "candidate", scores, **({"sets": {"fvd": 310.0}} | changes))
        return compare_runs(candidate, baseline, policy)

    return compare


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": {"av_align": {"metric_version": 2}}}, ["av_align has version 2, and 1 there"]),
        ({"rows": {"desync": {"weights_digest": "abcdef123456"}}}, ["desync has other weights", "abcdef12, and none"]),
        ({"rows": {"desync": {"params_digest": "x"}}}, ["desync has other parameters or prompt texts"]),
        ({"rows": {"fvd": {"params_digest": "x"}}}, ["fvd has another reference set"]),
        ({"info": {"weights": "keyed-random"}}, ["weights keyed-random, and checkpoints there"]),
        ({"info": {"precision": "bf16"}}, ["precision bf16, and fp32 there"]),
        ({"info": {"protocol": "javisbench-4s"}}, ["protocol javisbench-4s, and none there"]),
        ({"clips": {"text": "another"}}, ["prompt id 'p0' has another text (and 19 more)"]),
        ({"sets": {}}, ["metric fvd is not there"]),
        (
            {"scores": {"desync_compat": VALUES["desync"], "av_align": VALUES["av_align"]}},
            ["metric desync is not there; desync_compat, the other mode, is"],
        ),
        (
            {"rows": {"desync": {"weights_digest": "unavailable", "status": "skipped", "reason": "no torch"}}},
            ["metric desync could not run: no torch"],
        ),
    ],
)
def test_what_differs_is_said(against, changes, words):
    with pytest.raises(UsageError) as caught:
        against(**changes)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text
    assert "candidate" in text


def test_changed_parameters_are_named(against):
    facts = {"av_align": {"params": {"window": 5}, "version": 1}, "desync": {}, "fvd": {}}
    with pytest.raises(UsageError, match="av_align has parameter window = 5, and 2 there"):
        against(info={"metrics": facts}, rows={"av_align": {"params_digest": "x"}})


def test_many_differences_are_counted(against):
    rows = {name: {"metric_version": 2} for name in ("av_align", "desync", "fvd")}
    with pytest.raises(UsageError, match=r"av_align .*; desync .*; fvd "):
        against(rows=rows)


def test_a_metric_that_covers_a_part_of_the_clips_is_refused(against, make_run, tmp_path):
    import pandas as pd

    baseline = make_run(tmp_path / "b", VALUES)
    candidate = make_run(tmp_path / "c", VALUES)
    table = pd.read_parquet(candidate / "scores.parquet")
    table[~((table["metric"] == "desync") & (table["clip_id"] == "p3_0.mp4"))].to_parquet(candidate / "scores.parquet")
    with pytest.raises(UsageError, match=r"desync is missing for 1 of 20 clips of .*c"):
        compare_runs(candidate, baseline)


def test_a_metric_that_stopped_half_way_is_refused(make_run, tmp_path):
    import pandas as pd

    baseline, candidate = (make_run(tmp_path / name, VALUES) for name in ("b", "c"))
    table = pd.read_parquet(candidate / "scores.parquet")
    table.loc[table["metric"] == "desync", "weights_digest"] = ["none"] * 15 + ["unavailable"] * 5
    table.to_parquet(candidate / "scores.parquet")
    with pytest.raises(UsageError, match="desync could not run on 5 of 20 clips"):
        compare_runs(candidate, baseline)


def test_precision_is_no_matter_without_networks(against):
    policy = Policy(metrics=("av_align",))
    assert against(policy, info={"precision": "bf16", "weights": "keyed-random"}).names("same") == ["av_align"]


def test_test_weights_on_both_sides_are_refused(make_run, tmp_path):
    one, two = (make_run(tmp_path / name, VALUES, info={"weights": "keyed-random"}) for name in ("one", "two"))
    with pytest.raises(UsageError, match="keyed-random weights, so its desync means nothing"):
        compare_runs(one, two)
    assert compare_runs(one, two, Policy(metrics=("av_align",))).exit_code(strict=True) == 0


def test_more_metrics_in_the_candidate_are_noted_and_not_compared(make_run, tmp_path):
    baseline = make_run(tmp_path / "b", {"av_align": VALUES["av_align"]})
    found = compare_runs(make_run(tmp_path / "c", VALUES), baseline)
    assert [finding.metric for finding in found.findings] == ["av_align"]
    assert any("desync" in note and "not compared" in note for note in found.notes)


def test_what_ran_nowhere_is_noted(make_run, tmp_path):
    rows = {"desync": {"weights_digest": "unavailable", "status": "skipped", "reason": "no torch"}}
    one, two = (make_run(tmp_path / name, VALUES, rows=rows) for name in ("one", "two"))
    found = compare_runs(one, two)
    assert any(note == "without scores in any run, not compared: desync" for note in found.notes)


def test_environments_are_noted_refused_or_ignored(against):
    changes = {"info": {"environment": {"avbench": "0.1.0", "numpy": "2.1"}}}
    assert any("numpy 2.1 in" in note and "2.0 in" in note for note in against(**changes).notes)
    assert not any("numpy" in note for note in against(Policy(environment="ignore"), **changes).notes)
    with pytest.raises(UsageError, match=r"different environments: numpy 2\.1"):
        against(Policy(environment="refuse"), **changes)


def test_an_unknown_metric_in_the_policy_is_refused(against):
    from avbench.check import MetricPolicy

    with pytest.raises(UsageError, match="metric desnc is not there"):
        against(Policy(metrics=("desnc",)))
    with pytest.raises(UsageError, match=r"\[metric.desnc\].* Did you mean desync"):
        against(Policy(metric={"desnc": MetricPolicy()}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alpha = 0.1\nmetrics = ['desync', 'desnc']", "line 2: .*metric desnc is not there"),
        (
            "[metric.desync]\n[metric.desnc]",
            r"line 2: \[metric.desnc\]: no such metric is compared. Did you mean desync",
        ),
    ],
)
def test_a_policy_that_does_not_fit_the_runs_is_named_with_its_line(against, tmp_path, text, words):
    path = tmp_path / "check.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"check.toml {words}"):
        against(load_policy(path))
