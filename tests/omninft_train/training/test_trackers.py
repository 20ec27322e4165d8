"""Services that show a run: what TensorBoard and an offline run of Weights & Biases hold afterwards.

What Trackio is called with is seen by a package that stands in for it: its own cannot be installed beside the others.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_training import SMALL, log, make, tiny_config, tiny_weights

from omninft_train.errors import EnvironmentProblem
from omninft_train.models.backbone import Decoded
from omninft_train.training import trainer
from omninft_train.training.trackers import ShownClip, flat, keep_clips, open_service
from omninft_train.training.tracking import Tracker


def clip(level: int = 100) -> Decoded:
    return Decoded(np.full((5, 16, 16, 3), level, np.uint8), 10.0, np.zeros((1, 8000), np.float32), 16_000)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], SimpleNamespace]:
    """A package with `init` and `Video`, as Weights & Biases and Trackio have them; keeps what it gets."""

    def install(name: str) -> SimpleNamespace:
        kept = SimpleNamespace(init={}, logged=[], finished=0)

        def finish() -> None:
            kept.finished += 1

        run = SimpleNamespace(log=lambda values, step=None: kept.logged.append((step, values)), finish=finish)
        module: Any = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.init = lambda **options: kept.init.update(options) or run
        module.Video = lambda path, caption, format: (path, caption)
        monkeypatch.setitem(sys.modules, name, module)
        return kept

    return install


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_run_is_shown_with_its_clips(
    name: str, stand_in: Callable[[str], SimpleNamespace], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = stand_in(name)
    weights = tiny_weights(tmp_path_factory.mktemp("weights"))
    config = tiny_config(weights, f"run.tracker={name}", "run.clips_every=2", "run.steps=3", "run.probe_every=2")
    trainer.train(make(config, tmp_path / "mine"))
    assert kept.init["project"] == "omninft_train" and kept.init["name"].startswith(f"{tmp_path.name}-mine-")
    assert kept.init["config"]["optimizer/lr"] == 1e-3 and kept.init["config"]["rewards/reward/0/route"] == "video"
    numbers = [(step, values) for step, values in kept.logged if "loss" in values]
    assert [step for step, _ in numbers] == [0, 1, 2] and kept.finished == 1
    for row, (_, values) in zip(log(tmp_path / "mine"), numbers, strict=True):
        assert values["loss"] == row["loss"]
        assert ("gradient_by_depth/audio/1" in values) == ("gradient_by_depth" in row)
    shown = [(step, values) for step, values in kept.logged if "loss" not in values]
    assert [step for step, _ in shown] == [0, 2]
    folder = tmp_path / "mine" / "clips" / "step-000002"
    rows = json.loads((folder / "clips.json").read_text())
    assert [row["clip"] for row in rows] == ["000.mp4", "001.mp4", "002.mp4", "003.mp4"]
    for row in rows:
        path, caption = shown[1][1][f"clips/{Path(row['clip']).stem}"]
        assert Path(path) == folder / row["clip"] and Path(path).stat().st_size > 0
        assert row["prompt"] in caption and f"sync {row['rewards']['sync']:.3f}" in caption
    # Of the same rollouts as the step's statistics.
    everything = log(tmp_path / "mine")[2]
    spread = 6**0.5 * everything["reward_sync_std"] + 1e-9
    assert all(abs(row["rewards"]["sync"] - everything["reward_sync_mean"]) <= spread for row in rows)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_run_goes_on_under_its_name_and_no_other_does(
    name: str, stand_in: Callable[[str], SimpleNamespace], tmp_path: Path
) -> None:
    kept = stand_in(name)
    identity = "id" if name == "wandb" else "name"
    found = []
    # A start, another step of the same run, a start in the same folder anew, and runs of that name elsewhere.
    for folder, first in (("a/run", 0), ("a/run", 25), ("a/run", 0), ("a/run", 50), ("b/run", 0), ("c/a/run", 0)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        open_service(name, tmp_path / folder, {}, first)  # type: ignore[arg-type]
        found.append(kept.init[identity])
    assert found[0] == found[1] and found[2] == found[3] and len(set(found)) == 4


def test_clips_are_kept_without_a_service(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    weights = tiny_weights(tmp_path_factory.mktemp("weights"))
    trainer.train(make(tiny_config(weights, "run.clips_every=5", "run.steps=1"), tmp_path))
    assert len(list((tmp_path / "clips" / "step-000000").glob("*.mp4"))) == 4


def test_a_reward_that_failed_is_no_number(tmp_path: Path) -> None:
    (one,) = keep_clips(tmp_path, 3, {7: clip()}, ["a dog"], [{"sync": None, "sound": 0.25}])
    assert one.path == tmp_path / "clips" / "step-000003" / "007.mp4" and one.path.is_file()
    assert one.caption == "sync failed, sound 0.250 - a dog"
    assert json.loads((one.path.parent / "clips.json").read_text())[0]["rewards"] == {"sync": None, "sound": 0.25}


def test_a_package_that_is_not_installed_is_told_before_training(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("omninft_train.training.trackers.find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match="pip install trackio"):
        open_service("trackio", tmp_path, {})


def test_a_service_that_does_not_start_is_told_before_training(
    tmp_path: Path, stand_in: Callable[[str], SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("wandb")

    def refuse(**_: object) -> None:
        raise RuntimeError("no API key")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    with pytest.raises(EnvironmentProblem, match=r"run.tracker = 'wandb' does not start \(no API key\)"):
        open_service("wandb", tmp_path, {})


def test_a_service_that_fails_later_costs_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Down:
        def log(self, step: int, values: Any) -> None: ...

        def show(self, step: int, clips: Any) -> None:
            raise ConnectionError("the service is down")

        def close(self) -> None:
            raise AssertionError("left out by now")

    tracker = Tracker(tmp_path, services=[Down()])
    tracker.show(0, [ShownClip(tmp_path / "0.mp4", clip(), "a dog", {})])
    tracker.log(0, {"loss": 1.0})
    tracker.close()
    assert "the service is down" in caplog.text


def test_nested_values_get_flat_names() -> None:
    assert flat({"a": {"b": [1, {"c": 2}]}, "d": 3}) == {"a/b/0": 1, "a/b/1/c": 2, "d": 3}


def board(run: Path) -> Any:
    """What TensorBoard reads of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return found


def test_a_training_is_shown_in_tensorboard(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    weights = tiny_weights(tmp_path_factory.mktemp("weights"))
    trainer.train(make(tiny_config(weights, "run.tracker=tensorboard", "run.clips_every=2"), tmp_path))
    found, rows = board(tmp_path), log(tmp_path)
    assert [event.value for event in found.Scalars("loss")] == pytest.approx([row["loss"] for row in rows], rel=1e-6)
    assert [event.step for event in found.Scalars("reward_sync_mean")] == [0, 1]
    for number in range(4):
        assert [event.step for event in found.Images(f"clips/{number:03d}")] == [0]
        assert [event.step for event in found.Audio(f"clips/{number:03d}")] == [0]


@pytest.mark.long
def test_a_training_is_shown_in_weights_and_biases_without_a_network(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its own package, in offline mode; in a process of its own, as it starts services and redirects output."""
    weights, run = tiny_weights(tmp_path_factory.mktemp("weights")), tmp_path / "run"
    changes = (*SMALL, f'backbone.path="{weights}"', "run.steps=3", "run.tracker=wandb", "run.clips_every=2")
    command = [sys.executable, "-m", "omninft_train", "train", "--out", str(run), "--backbone", "miniature"]
    command += [part for text in changes for part in ("--set", text)]
    folders = {f"WANDB_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "CACHE", "DATA")}
    environment = {**os.environ, **folders, "WANDB_MODE": "offline"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the mirror failed" not in done.stderr
    (folder,) = (run / "wandb").glob("offline-run-*")
    (file,) = folder.glob("run-*.wandb")
    history = [dict(row) for row in logged_offline(file)]
    assert [row["loss"] for row in history] == [row["loss"] for row in log(run)]
    assert [row.get("clips/001/_type") for row in history] == ["video-file", None, "video-file"]
    kept, shown = (
        sorted(path.read_bytes() for path in place.rglob("*.mp4")) for place in (run / "clips", folder / "files")
    )
    assert kept == shown and len(kept) == 8


def logged_offline(path: Path) -> Iterator[dict[str, Any]]:
    """Steps in an offline run's file: records behind a head of 7 bytes, cut at the borders of blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    data, position, content = path.read_bytes(), 7, b""
    while position < len(data):
        left = 32_768 - position % 32_768
        if left < 7:
            position += left
            continue
        length, part = struct.unpack_from("<HB", data, position + 4)
        content += data[position + 7 : position + 7 + length]
        position += 7 + length
        if part in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record.FromString(content)
            content = b""
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                yield {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_tensorboard_gets_numbers_frames_and_sound(tmp_path: Path) -> None:
    service = open_service("tensorboard", tmp_path, {"run": {"seed": 1}})
    service.log(4, {"loss": 0.5, "depth": {"audio": [1.0, 2.0]}, "name": "x"})
    service.show(4, [ShownClip(tmp_path / "002.mp4", clip(), "a dog", {"sync": 0.5})])
    service.close()
    found = board(tmp_path)
    assert [(event.step, event.value) for event in found.Scalars("depth/audio/1")] == [(4, 2.0)]
    assert set(found.Tags()["scalars"]) >= {"loss", "depth/audio/0"}
    assert found.Images("clips/002")[0].width == 4 * 16  # frames side by side
    assert found.Images("clips/002")[0].step == 4
    assert found.Audio("clips/002")[0].sample_rate == 16_000


def test_tensorboard_forgets_steps_that_are_made_again(tmp_path: Path) -> None:
    for first, last in ((0, 6), (3, 5)):
        service = open_service("tensorboard", tmp_path, {}, first)
        for step in range(first, last):
            service.log(step, {"loss": float(step)} | ({"eval_sync": 1.0} if (first, step) == (0, 3) else {}))
        service.close()
    found = board(tmp_path)
    assert [event.step for event in found.Scalars("loss")] == [0, 1, 2, 3, 3, 4]
    assert [event.step for event in found.Scalars("eval_sync")] == [3]
