"""Training whose rewards are on Ray actors: the run is the one whose rewards are in the process itself, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from joined_worker import environment, work_off
from tiny_training import assert_equal, run, tensors, tiny_changes, tiny_config, tiny_weights

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


def test_rewards_elsewhere_change_nothing(weights: Path, cluster: str, tmp_path: Path) -> None:
    wanted = run(tiny_config(weights, *CHANGES), tmp_path / "here")
    assert_equal(run(tiny_config(weights, *CHANGES, *RAY), tmp_path / "there"), wanted)


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
    work_off(jobs, tmp_path / "work", size=2, node_size=2)
    assert_equal(tensors(tmp_path / "there"), tensors(tmp_path / "here"))
