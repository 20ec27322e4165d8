"""What benchmarks/simulate_cluster.py plays through, where the answer is known, and its figures in docs/scale.md."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cluster() -> ModuleType:
    """benchmarks/simulate_cluster.py as a module."""
    path = REPOSITORY / "benchmarks" / "simulate_cluster.py"
    spec = importlib.util.spec_from_file_location("simulate_cluster", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulate_cluster"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("clips, workers", [(0, 4), (1, 4), (7, 64), (10_140, 16), (100_000, 1024)])
def test_every_clip_is_handed_out_once(cluster, clips, workers):
    sizes = list(cluster.shard_sizes(clips, workers))
    assert sum(sizes) == clips
    assert max(sizes, default=0) <= 128, "one worker must not hold what a node that joins could take"


def test_one_worker_takes_as_long_as_all_that_has_to_be_done(cluster):
    costs = np.full(100, 3.0)
    around = cluster.LOAD_SECONDS + 100 * (cluster.PLAN_SECONDS + cluster.RECORD_SECONDS + cluster.TABLE_SECONDS)
    assert cluster.simulate(costs, np.ones(1)).seconds == pytest.approx(300 + around)


def test_workers_share_the_work_and_none_does_more_than_it_can(cluster):
    costs = np.full(6400, 5.0)
    run = cluster.simulate(costs, np.ones(16), record=0.0)
    assert (
        2000
        <= run.seconds
        <= 2000 + cluster.LOAD_SECONDS + 8 * 5 + 6400 * (cluster.PLAN_SECONDS + cluster.TABLE_SECONDS)
    )
    assert run.busy == pytest.approx(6400 * 5 / 16 / run.seconds)


def test_a_slow_worker_is_overtaken_by_quick_ones(cluster):
    costs = np.full(3200, 5.0)
    slow = cluster.simulate(costs, np.array([1.0, 1.0, 1.0, 2.0]))
    without = cluster.simulate(costs, np.ones(3))
    assert slow.seconds < without.seconds


def test_where_the_driver_cannot_follow_more_workers_change_nothing(cluster):
    costs = np.full(6400, 1.0)
    some, more = (cluster.simulate(costs, np.ones(count), record=0.5).seconds for count in (64, 128))
    assert 3200 <= more <= some * 1.02
    assert some <= 3200 * 1.05


def test_the_page_shows_what_the_simulation_prints(cluster):
    page = (REPOSITORY / "docs" / "scale.md").read_text()
    for speed in (1.0, 10.0, 100.0):
        assert "\n".join(cluster.table(10_140, speed, cluster.WORKERS)) in page
