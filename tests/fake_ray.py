"""Stand-ins for Ray: workers that die as told, and nodes that answer as told. No cluster is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from avbench import Clip
from avbench.run.assignments import Assignment
from avbench.run.content import Content
from avbench.run.jobs import ClipJob, RunContext
from avbench.run.score_clip import failed_result
from avbench.run.worker_process import Opening


def job(number: int, metric: str = "loudness") -> ClipJob:
    return ClipJob(Clip(f"c{number}", Path(f"c{number}.mp4")), Content("0"), (metric,), RunContext("run", "s", "1"))


class Lost(Assignment):
    """A worker whose node can go."""

    gone = False

    @property
    def blameless(self) -> bool:
        return self.gone

    def give(self, shard, stopped) -> None:
        self.take(shard)


class Pool:
    """One worker that opens clips in turn and dies over `deadly` ones; with its node for so many times."""

    def __init__(self, deadly: str, with_node: list[int]) -> None:
        self.deadly, self.with_node, self.worker = deadly, with_node, Lost(ready=True)

    @property
    def busy(self) -> int:
        return int(self.worker.busy)

    @property
    def idle(self) -> list[Lost]:
        return [] if self.worker.busy else [self.worker]

    def grow(self, shards: int) -> None: ...

    def listen(self) -> Iterator[tuple[Lost, object]]:
        worker = self.worker
        if not worker.left:
            worker.note("done")
            return
        clip_id, first = next(iter(worker.left.items()))
        worker.note(Opening(clip_id))
        if clip_id != self.deadly:
            result = failed_result(first, "judged")
            worker.note(result)
            yield worker, result
            return
        self.worker = Lost(ready=True)
        worker.gone = self.with_node[0] > 0
        self.with_node[0] -= 1
        yield worker, None

    def end_hanging(self) -> Iterator[tuple[Lost, ClipJob]]:
        return iter(())

    def end(self) -> None: ...


class Nodewise:
    """As much of Ray as nodes are asked by. Each answers as this machine would, and then `changed` by its name.

    `refusal` is what it says of the resources of an actor, if anything.
    """

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self, changed: dict[str, Callable[[Any], Any]]) -> None:
        self.changed, self.left, self.refusal = changed, False, ""

    @property
    def ray(self) -> Nodewise:
        return self

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        return function(*given)

    def close(self) -> None:
        self.left = True

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": f"{name}-id", "Alive": True, "Resources": {"CPU": 1.0}, "NodeManagerAddress": "10.0.0.1",
             "NodeManagerHostname": name}
            for name in self.changed
        ]  # fmt: skip

    def put(self, question: bytes) -> bytes:
        return question

    def remote(self, actor: type | None = None, **_: Any) -> Any:
        if actor is not None:
            return SimpleNamespace(options=self.accept)

        def task(function: Callable[[bytes], Any]) -> Any:
            def on(scheduling_strategy: str) -> Any:
                return SimpleNamespace(remote=lambda question: (scheduling_strategy, function, question))

            return SimpleNamespace(options=on)

        return task

    def accept(self, **_: Any) -> None:
        if self.refusal:
            raise ValueError(self.refusal)

    def wait(self, asked: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return asked, []

    def get(self, reference: tuple[str, Callable[[bytes], Any], bytes]) -> Any:
        name, function, question = reference
        return self.changed[name](function(question))
