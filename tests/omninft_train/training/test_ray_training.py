"""Training whose rewards are on Ray actors: the run is the one whose rewards are in the process itself, bit by bit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from joined_worker import environment, work_off
from tiny_training import assert_equal, run, tensors, tiny_changes, tiny_config, tiny_weights

from omninft_train.rewards.ray import RayRewardBackend

pytestmark = pytest.mark.slow
RAY = ("rewards.backend=ray", "rewards.overlap=true")
# Sampled in two batches, of which the first is judged while the second is sampled.
CHANGES = ("prompts.group_size=4", "sampling.batch=4", "sampling.steps=3")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("pretraining"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster on this machine."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
        ray.init(num_cpus=4, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False)
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@contextmanager
def named_actors() -> Iterator[set[str]]:
    """Names of all actors that there are at some time meanwhile."""
    from ray.util import list_named_actors

    names: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            names.update(actor["name"] for actor in list_named_actors(all_namespaces=True))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield names
    finally:
        over.set()
        thread.join()


def test_rewards_elsewhere_change_nothing(weights: Path, cluster: str, tmp_path: Path) -> None:
    wanted = run(tiny_config(weights, *CHANGES), tmp_path / "here")
    with mock.patch.object(RayRewardBackend, "judge", autospec=True, side_effect=RayRewardBackend.judge) as judged:
        assert_equal(run(tiny_config(weights, *CHANGES, *RAY), tmp_path / "there"), wanted)
    assert judged.call_count >= 4  # two batches in each of two steps


def test_processes_that_train_together_share_the_actors(
    weights: Path, cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    jobs = [
        {
            "job": "joined_worker:run_training",
            "recipe": "omninft",
            "backbone": "miniature",
            "changes": tiny_changes(weights, *CHANGES, "sampling.batch=2", *more),
            "out": str(tmp_path / name),
        }
        for name, more in (("here", ()), ("there", RAY))
    ]
    with named_actors() as names:
        work_off(jobs, tmp_path / "work", size=2, node_size=2)
    assert_equal(tensors(tmp_path / "there"), tensors(tmp_path / "here"))
    ours = {name for name in names if name.startswith("127.0.0.1:")}
    assert len(ours) == 2  # one for each two of four cores, whatever the number of processes
