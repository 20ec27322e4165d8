"""What a run holds in memory does not grow with its clips, however quick the workers are."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from avbench import Clip
from avbench.run import runner
from avbench.run.cluster.nodes import Node
from avbench.run.cluster.pool import Actor
from avbench.run.jobs import ClipJob, ClipResult, Stopped
from avbench.run.runner import run_source
from avbench.run.score_clip import failed_result
from avbench.sources import Source
from avbench.suites import Suite


class Eager:
    """A backend that has every result at once. Counts those that are alive, and those that the record lacks."""

    count = 1

    def __init__(self, record: Path) -> None:
        self.record = record
        self.given: list[weakref.ref[ClipResult]] = []
        self.most_alive = self.most_behind = 0

    def run(
        self, jobs: Sequence[ClipJob], stopped: Stopped, note: Callable[[str], None]
    ) -> Generator[ClipResult, None, None]:
        for job in jobs:
            result = failed_result(job, "judged")
            self.given.append(weakref.ref(result))
            yield result
            del result
            alive = sum(each() is not None for each in self.given)
            behind = len(self.given) - self.record.read_bytes().count(b"\n")
            self.most_alive, self.most_behind = max(self.most_alive, alive), max(self.most_behind, behind)


def test_a_result_is_on_the_disk_before_the_next_is_asked_for(monkeypatch, tmp_path):
    backend = Eager(tmp_path / "run" / "scores.jsonl")
    monkeypatch.setattr(runner, "_backend", lambda *_: nullcontext(backend))
    clips = tuple(Clip(f"c{number:02}", tmp_path / f"c{number:02}.mp4") for number in range(40))
    run_source(Source(tmp_path, "folder", clips, ""), Suite("s", "", ("loudness",)), tmp_path / "run")
    assert len(backend.given) == 40
    assert (backend.most_alive, backend.most_behind) == (1, 0)


def test_an_actor_waits_when_the_driver_is_so_far_behind():
    asked: dict[str, Any] = {}

    def options(**given: Any) -> Any:
        asked.update(given)
        return SimpleNamespace(remote=lambda *_: "stream")

    actor = Actor(handle=SimpleNamespace(score=SimpleNamespace(options=options)), node=Node("1", "a", 1), source=None)
    actor.give([], Stopped())
    assert asked == {"num_returns": "streaming", "_generator_backpressure_num_objects": 64}
    assert actor.source == "stream"
