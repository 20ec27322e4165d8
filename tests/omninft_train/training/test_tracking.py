"""Tracking: one line per step, what a resumed run finds, and a mirror that fails."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.training.tracking import METRICS, Tracker, best_step, console_line, read_metrics

MIRROR = """
class Keeper:
    kept = []
    def __init__(self, folder):
        self.folder = folder
    def log(self, step, values):
        if step == 2:
            raise ConnectionError("the service is down")
        self.kept.append((step, dict(values), self.folder))
nothing = 3
"""


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    (tmp_path / "mirror_for_test.py").write_text(MIRROR)
    monkeypatch.syspath_prepend(tmp_path)
    import mirror_for_test

    mirror_for_test.Keeper.kept.clear()
    return mirror_for_test.Keeper.kept


def test_a_step_is_one_line_of_plain_json(tmp_path):
    tracker = Tracker(tmp_path / "run")
    values = {"loss": torch.tensor(0.5), "by_depth": {"audio": [np.float32(1.5), 2]}, "name": "x", "count": 3}
    tracker.log(0, values | {"bad": float("nan"), "worse": torch.tensor([1.0, torch.inf])})
    (line,) = (tmp_path / "run" / METRICS).read_text().splitlines()
    expected = {"step": 0, "loss": 0.5, "by_depth": {"audio": [1.5, 2]}, "name": "x", "count": 3}
    assert json.loads(line) == expected | {"bad": None, "worse": [1.0, None]}


def test_a_resumed_run_leaves_no_line_twice(tmp_path):
    tracker = Tracker(tmp_path)
    for step in range(6):
        tracker.log(step, {"loss": float(step)})
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 6, "lo')  # killed while writing
    assert [row["step"] for row in read_metrics(tmp_path)] == list(range(6))
    again = Tracker(tmp_path, first=4)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2, 3]
    again.log(4, {"loss": -4.0})
    assert [row["loss"] for row in read_metrics(tmp_path)] == [0, 1, 2, 3, -4]
    assert (tmp_path / METRICS).read_text().count("\n") == 5


def test_a_silent_tracker_touches_nothing(tmp_path):
    Tracker(tmp_path).log(0, {"loss": 1.0})
    silent = Tracker(tmp_path, 0, silent=True)
    silent.log(1, {"loss": 2.0})
    assert [row["step"] for row in read_metrics(tmp_path)] == [0]
    assert read_metrics(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["mirror_for_test:Keeper", "mirror_for_test.Keeper"])
def test_a_mirror_gets_the_same_and_may_fail(tmp_path, mirror, caplog, name):
    tracker = Tracker(tmp_path / "run", mirror=name)
    for step in range(4):
        tracker.log(step, {"loss": torch.tensor(float(step))})
    assert mirror == [(0, {"loss": 0.0}, tmp_path / "run"), (1, {"loss": 1.0}, tmp_path / "run")]
    assert "the service is down" in caplog.text
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "name", ["mirror_for_test:Absent", "mirror_for_test:nothing", "no_such_module:x", "nodots", ":x"]
)
def test_a_mirror_that_is_not_there_is_wrong_usage(tmp_path, mirror, name):
    with pytest.raises(UsageError, match=f"tracker '{name}'"):
        Tracker(tmp_path / "run", mirror=name)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match=METRICS):
        Tracker(tmp_path / "file" / "run")


def test_a_full_disk_is_told(tmp_path):
    tracker = Tracker(tmp_path)
    (tmp_path / METRICS).symlink_to("/dev/full")
    with pytest.raises(EnvironmentProblem, match="No space left"):
        tracker.log(0, {"loss": 1.0})


def test_the_console_gets_one_short_line(tmp_path, caplog):
    row = {"step": 12, "loss": 0.123456, "reward_clap_mean": 0.51, "reward_clap_std": 0.1, "gradient_norm": None}
    row |= {"seconds_sample": 2.0, "seconds_update": 1.5}
    assert console_line(row) == "step 12  loss 0.1235  clap 0.51  3.5 s"
    with caplog.at_level(logging.INFO, logger="omninft_train.training.tracking"):
        Tracker(tmp_path).log(12, {key: value for key, value in row.items() if key != "step"})
    assert console_line(row) in caplog.text


def test_the_best_step_is_that_of_the_best_mean_of_the_steps_before(tmp_path):
    tracker = Tracker(tmp_path)
    for step, value in enumerate([0.1, 0.2, 0.9, 0.1, 0.6, 0.6, None, 0.95]):
        tracker.log(step, {"reward_sync_mean": value})
    # Means of two: 0.15, 0.5, 0.6; the last 0.95 came after the last one that was saved.
    assert best_step(tmp_path, "reward_sync_mean", [2, 4, 6], 2) == 6
    assert best_step(tmp_path, "reward_sync_mean", [2, 4], 2) == 4
    assert best_step(tmp_path, "reward_sync_mean", [6, 8], 2) == 8
    assert best_step(tmp_path, "reward_sync_mean", [3, 6], 1) == 3
    with pytest.raises(UsageError, match=r"no saved step has 'reward_sink_mean' in its log\..*reward_sync_mean"):
        best_step(tmp_path, "reward_sink_mean", [2], 1)
