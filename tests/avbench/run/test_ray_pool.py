"""The actors of a run: a node that cannot go on is left to others, and what is said names the node."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fake_ray import Actors, job

from avbench.errors import EnvironmentProblem
from avbench.run.cluster import pool as module
from avbench.run.cluster.pool import RayPool
from avbench.run.cluster.settings import RaySettings
from avbench.run.jobs import ClipJob, ClipResult, Stopped
from avbench.run.score_clip import failed_result
from avbench.run.worker_process import Message, Workers
from avbench.run.workers import Crew, run_shards

NO_MEMORY = {"loudness": "stopped: MemoryError: no memory"}


def pool_of(ray: Actors) -> RayPool:
    given: Any = ray
    return RayPool(given, given, RaySettings(), Workers(), {}, None, Counter())


def run(ray: Actors, shards: list[list[ClipJob]], stopped: Stopped) -> list[ClipResult]:
    return list(run_shards(shards, Crew(lambda _: pool_of(ray), 60), 2, stopped))


def judges(short_of_memory: Callable[[str, str], bool]) -> Callable[[str, Sequence[ClipJob]], Iterator[Message]]:
    """A node judges every clip, unless the metric stops there: said of node and clip."""

    def score(node: str, jobs: Sequence[ClipJob]) -> Iterator[Message]:
        for each in jobs:
            result = failed_result(each, f"judged on {node}")
            if short_of_memory(node, each.clip.clip_id):
                result = replace(result, rows=[], stopped=NO_MEMORY)
            yield result

    return score


def test_a_node_where_a_metric_stops_is_left_to_others(caplog: pytest.LogCaptureFixture) -> None:
    ray, stopped = Actors({"poor": None, "good": None}, judges(lambda node, _: node == "poor")), Stopped()
    results = run(ray, [[job(0), job(1)], [job(2), job(3)]], stopped)
    assert sorted(result.clip_row.clip_id for result in results) == ["c0", "c1", "c2", "c3"]
    assert {row.reason for result in results for row in result.rows} == {"judged on good"}
    assert stopped.reasons() == {} and list(ray.usable) == ["good"]
    assert caplog.messages == ["node poor is not used any more: loudness stopped: MemoryError: no memory"]


def test_a_clip_over_which_a_metric_stops_twice_stops_it_and_takes_no_third_node() -> None:
    names = dict.fromkeys(("a", "b", "c"))
    ray, stopped = Actors(names, judges(lambda _, clip: clip == "c1")), Stopped()
    run(ray, [[job(0)], [job(1)], [job(2)]], stopped)
    assert stopped.reasons() == NO_MEMORY
    assert len(ray.usable) == 2


def test_on_the_last_node_a_metric_stops() -> None:
    ray, stopped = Actors({"poor": None}, judges(lambda *_: True)), Stopped()
    assert len(run(ray, [[job(0)], [job(1)]], stopped)) == 2
    assert stopped.reasons() == NO_MEMORY and list(ray.usable) == ["poor"]


def test_what_an_actor_raises_names_its_node() -> None:
    ray = Actors({"full": EnvironmentProblem("no space left for the spool")}, judges(lambda *_: False))
    with pytest.raises(EnvironmentProblem, match=r"^node full: no space left for the spool$"):
        run(ray, [[job(0)]], Stopped())
    ray = Actors({"odd": ZeroDivisionError("a fault")}, judges(lambda *_: False))
    with pytest.raises(ZeroDivisionError) as caught:
        run(ray, [[job(0)]], Stopped())
    assert "on node odd" in caught.value.__notes__


def test_an_actor_that_waits_for_room_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ray = Actors({"busy": None}, judges(lambda *_: False))
    ray.full = {"busy"}
    pool = pool_of(ray)
    pool.grow(1)
    assert list(pool.listen()) == [] and caplog.messages == []
    monkeypatch.setattr(module, "_ROOM_S", -1.0)
    with caplog.at_level(logging.WARNING):
        assert [*pool.listen(), *pool.listen()] == []
    assert caplog.messages == ["waiting for room on node busy: other work has what an actor needs"]
