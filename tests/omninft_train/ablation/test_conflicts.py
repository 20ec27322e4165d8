"""The study of reward conflicts: numbers by hand and by drawing, files, and what is said about wrong ones."""

from __future__ import annotations

import json
import math
import shlex
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.errors import UsageError
from omninft_train.ablation.conflicts import Rollouts, read_rollouts, sentence, study


def rollouts(values, groups, routes=("video", "audio"), weights=None, valid=None) -> Rollouts:
    values = np.asarray(values, dtype=float)
    names = tuple(f"r{k}" for k in range(values.shape[1]))
    return Rollouts(
        "run", names, tuple(routes), tuple(weights or [1.0] * len(names)), np.asarray(groups), values,
        np.isfinite(values) if valid is None else np.asarray(valid),
    )  # fmt: skip


def test_a_case_by_hand():
    """Group 0 disagrees in both rollouts, group 1 in none; the mean of a group is no advantage at all."""
    found = study(rollouts([[1, 5], [3, 1], [10, 20], [20, 40]], [0, 0, 1, 1]))
    assert (found.fraction, found.counted, found.group_count, found.ties) == (0.5, 4, 2, 0)
    centred = np.array([[-1, 2], [1, -2], [-5, -10], [5, 10]], dtype=float)
    r = (centred[:, 0] @ centred[:, 1]) / np.linalg.norm(centred[:, 0]) / np.linalg.norm(centred[:, 1])
    assert found.correlation == pytest.approx(r)
    assert found.matrix[0, 1] == pytest.approx(r)
    assert found.by_reward[0, 1] == 0.5
    assert found.video == pytest.approx(centred[:, 0] / (np.std([1, 3, 10, 20]) + 1e-4))
    assert study(rollouts([[1, 5], [3, 1], [10, 20], [20, 40]], [0, 0, 1, 1]), "group").video == pytest.approx(
        [-1, 1, -1, 1], abs=1e-3
    )


def test_routes_and_weights_decide_what_counts():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(80, 4))
    values[:, 1] = values[:, 0]
    groups = np.repeat(np.arange(10), 8)
    routes = ("video", "audio", "both", "audio")
    same = study(rollouts(values, groups, routes, [1.0, 1.0, 5.0, 0.0]))
    assert same.fraction == 0.0, "rewards of both and of weight 0 take no part"
    against = study(rollouts(values, groups, routes, [1.0, -1.0, 5.0, 0.0]))
    assert against.fraction == 1.0
    assert against.correlation == pytest.approx(-1.0)


def test_independent_rewards_disagree_in_half_of_the_rollouts_and_the_interval_says_so():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(40):
        found = study(rollouts(rng.normal(size=(160, 2)), np.repeat(np.arange(20), 8)))
        hits += found.fraction_interval.low <= 0.5 <= found.fraction_interval.high
    assert hits >= 36


def test_groups_are_drawn_whole():
    """Eight equal copies of each rollout tell no more than one: the interval must not shrink."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(40, 2))
    groups = np.repeat(np.arange(20), 2)
    once = study(rollouts(values, groups))
    often = study(rollouts(np.repeat(values, 8, axis=0), np.repeat(groups, 8)))
    assert often.fraction == once.fraction
    assert often.fraction_interval.low == pytest.approx(once.fraction_interval.low, abs=0.01)
    assert often.correlation_interval.high == pytest.approx(once.correlation_interval.high)


def test_no_rollout_with_both_advantages_is_no_share_of_zero():
    with pytest.raises(UsageError, match="none of 4 rollouts has a value of every"):
        study(rollouts([[1, math.nan], [3, math.nan], [math.nan, 2], [math.nan, 4]], [0, 0, 1, 1]))


def test_failed_rewards_leave_and_constant_ones_are_ties():
    values = [[1.0, 2.0], [2.0, 1.0], [math.nan, 9.0], [1.0, 3.0], [1.0, 4.0]]
    found = study(rollouts(values, [0, 0, 0, 1, 1]))
    assert found.counted == 4
    assert found.ties == 2
    assert found.fraction == 0.25
    assert math.isnan(found.video[2])
    flat = study(rollouts([[1, 1], [1, 2], [1, 3], [1, 4]], [0, 0, 1, 1]))
    assert math.isnan(flat.correlation)
    assert math.isnan(flat.matrix[0, 1])
    assert flat.fraction == 0.0


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(24)), st.floats(0.1, 10), st.floats(-5, 5))
def test_order_scale_and_level_change_nothing(order, scale, level):
    values = np.random.default_rng(3).normal(size=(24, 2))
    groups = np.repeat(np.arange(8), 3)
    found = study(rollouts(values, groups))
    moved = study(rollouts((values * scale + level)[list(order)], groups[list(order)]))
    assert moved.fraction == found.fraction
    assert moved.correlation == pytest.approx(found.correlation, abs=1e-3)
    ends = [(one.fraction_interval.low, one.fraction_interval.high) for one in (moved, found)]
    assert ends[0] == pytest.approx(ends[1])


def test_words_follow_the_interval():
    rng = np.random.default_rng(4)
    a = rng.normal(size=(160, 1))
    groups = np.repeat(np.arange(20), 8)
    noise = 0.1 * rng.normal(size=a.shape)
    assert "more than half" in sentence(study(rollouts(np.hstack([a, noise - a]), groups)))
    assert "no interval" in sentence(study(rollouts(np.hstack([a, -a]), groups))), (
        "all opposite: nothing to estimate from"
    )
    assert "less than half" in sentence(study(rollouts(np.hstack([a, a + noise]), groups)))
    assert "one half, as rewards give" in sentence(study(rollouts(rng.normal(size=(160, 2)), groups)))


CONTENT = {
    "rewards": ["picture", "sound"], "routes": ["video", "audio"], "weights": [1, 1], "groups": [0, 0, 1, 1],
    "values": [[1, 2], [2, None], [3, 1], [1, 2]], "valid": [[True, True], [True, False], [True, True], [True, True]],
}  # fmt: skip


def test_what_the_trainer_wrote_is_read_and_wrong_files_are_one_line(tmp_path):
    path = tmp_path / "f.json"
    path.write_text(json.dumps(CONTENT))
    found = read_rollouts(path)
    assert found.valid.tolist() == CONTENT["valid"]
    assert study(found).counted == 3
    for change, message in (
        ({"values": [[1, 2]]}, "expected (4, 2) for 4 rollouts and 2 rewards"),
        ({"routes": ["video", "sound"]}, 'routes[1] = "sound": expected one of "video", "audio", "both"'),
        ({"routes": ["video", "both"]}, "no reward of route audio alone"),
        ({"weights": [1, 0]}, "no reward of route audio alone"),
        ({"weights": [1, "x"]}, "Expected one row per rollout"),
        ({"groups": []}, "expected (0, 2)"),
    ):
        path.write_text(json.dumps(CONTENT | change))
        with pytest.raises(UsageError, match=r"^[^\n]*$") as error:
            read_rollouts(path)
        assert message in str(error.value)
    for text in ("", "[]", '{"rewards": []}'):
        path.write_text(text)
        with pytest.raises(UsageError, match="omninft-train conflicts RUN"):
            read_rollouts(path)
    with pytest.raises(UsageError, match="the interval needs at least 2"):
        study(rollouts([[1, 2], [2, 1]], [0, 0]))


def test_the_command_makes_rollouts_once_and_writes_everything(avbench, small_grid, fake_command, tmp_path):
    assert avbench("ablate", "--grid", small_grid, "--out", "out", "-q").returncode == 0
    log = tmp_path / "calls"
    options = ("--out", "study", "--prompts", "10", "--group-size", "4", "--trainer", fake_command)
    run, asked = "out/runs/vanilla/seed-1/run", ("--seed", "3", "--role", "reference")
    done = avbench("study", "conflicts", run, *options, *asked, fake={"FAKE_CALLS": str(log)})
    assert (done.returncode, done.stderr) == (0, "")
    assert "of 40 rollouts in 10 groups have video and audio advantages of opposite signs" in " ".join(
        done.stdout.split()
    )
    study_folder = tmp_path / "study"
    (facts,) = json.loads((study_folder / "conflicts.json").read_text())
    assert facts["low"] <= facts["share"] <= facts["high"]
    assert facts["correlation"] < 0
    assert facts["name"] == "out/runs/vanilla/seed-1 before training"
    assert len((study_folder / "conflicts.csv").read_text().splitlines()) == 41
    text = (study_folder / "conflicts.html").read_text()
    assert text.count('<svg class="chart"') == 2
    assert text.count("<script") == 1, "that of all pages"
    for svg in study_folder.glob("*.svg"):
        ElementTree.parse(svg)
    call = json.loads(log.read_text().splitlines()[-1])
    assert call[0] == "conflicts"
    assert call[4:] == ["--prompts", "10", "--group-size", "4", "--seed", "3", "--role", "reference"]
    before = log.read_text()
    (made,) = (study_folder / "rollouts").glob("*.json")
    again = avbench("study", "conflicts", run, made, *options, *asked, "-q", fake={"FAKE_CALLS": str(log)})
    assert (again.returncode, again.stdout) == (0, "")
    assert log.read_text() == before, "rollouts that are there are used again"
    assert len(json.loads((study_folder / "conflicts.json").read_text())) == 2


def test_a_folder_of_an_ablation_gives_its_runs(avbench, small_grid, fake_command, tmp_path):
    assert avbench("ablate", "--grid", small_grid, "--out", "out", "-q").returncode == 0
    options = ("--prompts", "4", "--group-size", "4", "--trainer", fake_command, "-q")
    for role, label in (("reference", "before training"), ("policy", "vanilla")):
        assert avbench("study", "conflicts", "out", "--out", role, "--role", role, *options).returncode == 0
        facts = json.loads((tmp_path / role / "conflicts.json").read_text())
        assert [one["name"] for one in facts] == [f"{label}/seed-{seed}" for seed in range(2)]


def test_the_policy_of_a_step_has_rollouts_of_its_own(avbench, small_grid, fake_command, tmp_path):
    assert avbench("ablate", "--grid", small_grid, "--out", "out", "-q").returncode == 0
    log, names = tmp_path / "calls", []
    options = ("--prompts", "4", "--group-size", "4", "--trainer", fake_command, "-q", "--out", "study")
    for step in ("last", "1", "best"):
        call = ("study", "conflicts", "out/runs/vanilla/seed-1/run", "--step", step, *options)
        assert avbench(*call, fake={"FAKE_CALLS": str(log)}).returncode == 0
        (one,) = json.loads((tmp_path / "study" / "conflicts.json").read_text())
        names.append(one["name"].removeprefix("out/runs/vanilla/seed-1"))
    assert names == ["", " at step 1", " at its best step"]
    calls = [json.loads(line)[8:] for line in log.read_text().splitlines()]
    assert calls == [[], ["--step", "1"], ["--step", "best"]], "none takes the rollouts of another"


def test_wrong_arguments_are_one_line(avbench, fake_command, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    for arguments, code, message in (
        (("nothing",), 2, "nothing: neither a run of the trainer, nor an ablation's folder"),
        (("run", "--group-size", "1"), 2, "group size 1 (--group-size): advantages need at least 2 rollouts"),
        (("run", "--prompts", "1"), 2, "prompts = 1 (--prompts): the interval over groups needs at least 2"),
        (("run", "--trainer", "/no/such/trainer"), 4, "cannot start /no/such/trainer"),
        (("run", "--trainer", f"{fake_command} --fail"), 2, "run: no rollouts, exit code 2: no command --fail"),
    ):
        done = avbench("study", "conflicts", *arguments)
        assert done.returncode == code, done.stderr
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.fixture
def fake_command() -> str:
    from pathlib import Path

    return shlex.join([sys.executable, str(Path(__file__).parent / "fake_trainer.py")])
