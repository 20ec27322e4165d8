"""Stand-ins for Ray: workers that die as told, and nodes that answer as told. No cluster is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from avbench import Clip
from avbench.run.assignments import Assignment
from avbench.run.cluster.nodes import Node
from avbench.run.content import Content
from avbench.run.jobs import ClipJob, RunContext
from avbench.run.score_clip import failed_result
from avbench.run.worker_process import Message, Opening


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


class Actors:
    """As much of Ray as actors are started and heard by. `nodes` says what an actor of each answers to its start.

    `score` gives the messages of a shard: from the name of the node and the jobs. A node of `full` starts no actor.
    """

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(
        self, nodes: dict[str, Exception | None], score: Callable[[str, Sequence[ClipJob]], Iterator[Message]]
    ) -> None:
        self.started, self.score, self.full = nodes, score, set[str]()
        self.usable = {name: Node(name, name, 1) for name in nodes}

    @property
    def ray(self) -> Actors:
        return self

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        return function(*given)

    def refresh(self) -> None: ...

    def drop(self, node: Node) -> None:
        self.usable.pop(node.id, None)

    def alive(self, node: Node) -> bool:
        return True

    def on(self, node: Node) -> str:
        return node.id

    def remote(self, actor: type | None = None, **_: Any) -> Any:
        return SimpleNamespace(options=self._options) if actor is not None else lambda _: SimpleNamespace(
            options=lambda **_: SimpleNamespace(remote=lambda *_: None)
        )  # fmt: skip

    def _options(self, scheduling_strategy: str, **_: Any) -> Any:
        def stream(jobs: Sequence[ClipJob], _stopped: object) -> Iterator[Message]:
            return self.score(scheduling_strategy, jobs)

        score = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=stream))
        prepare = SimpleNamespace(remote=lambda: (scheduling_strategy, uuid4()))
        return SimpleNamespace(remote=lambda *_: SimpleNamespace(score=score, prepare=prepare))

    def wait(self, sources: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        ready = [each for each in sources if not isinstance(each, tuple) or each[0] not in self.full]
        return ready, []

    def get(self, reference: Any) -> Any:
        return self.started[reference[0]] if isinstance(reference, tuple) else reference

    def kill(self, handle: object) -> None: ...
