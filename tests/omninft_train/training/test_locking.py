"""One training at a time in a folder: a job that was queued twice is refused and changes nothing."""

from __future__ import annotations

import multiprocessing
import signal
from pathlib import Path

import filelock
import pytest
import tiny_training
from tiny_training import make, run, tiny_config

from omninft_train.errors import EnvironmentProblem
from omninft_train.training import checkpoint, trainer
from omninft_train.training.distributed import World
from omninft_train.training.locking import exclusive
from omninft_train.training.tracking import read_metrics


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_training.tiny_weights(tmp_path_factory.mktemp("weights"))


def test_the_second_of_two_trainings_is_refused_and_touches_nothing(weights: Path, tmp_path: Path) -> None:
    config = tiny_config(weights, "run.steps=1")
    run(config, tmp_path)
    partial = tmp_path / ".checkpoint-000002.partial"
    partial.mkdir()  # what the first one is writing
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    second = make(tiny_config(weights, "run.steps=4"), tmp_path)
    with (
        exclusive(tmp_path, World()),
        pytest.raises(EnvironmentProblem, match="is in use by another training") as caught,
    ):
        trainer.train(second)
    assert caught.value.exit_code == 4
    assert partial.exists()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock"} == before
    trainer.train(second)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2, 3]
    assert checkpoint.latest(tmp_path) == tmp_path / "checkpoint-000004"


def _hold(folder: Path, ready: multiprocessing.synchronize.Event) -> None:
    with exclusive(folder, World()):
        ready.set()
        signal.pause()


@pytest.mark.long
def test_a_killed_training_leaves_no_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=_hold, args=(tmp_path, ready))
    child.start()
    assert ready.wait(60)
    with pytest.raises(EnvironmentProblem, match="in use"), exclusive(tmp_path, World()):
        pass
    child.kill()
    child.join()
    with exclusive(tmp_path, World()):
        pass


def test_a_folder_that_cannot_be_locked_is_named_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(EnvironmentProblem, match="Permission denied") as caught, exclusive(tmp_path, World()):
        pass
    assert str(tmp_path) in str(caught.value) and "--out" in str(caught.value)


class _Second(World):
    """The second of two processes, whose first was refused the folder."""

    def gather_objects(self, value: object) -> list[object]:
        return ["runs/x is in use by another training.", value]


def test_all_processes_of_a_refused_training_stop(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="in use"), exclusive(tmp_path, _Second(rank=1, size=2)):
        raise AssertionError("went on alone")
    assert not (tmp_path / ".lock").exists()
