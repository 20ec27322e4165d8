"""The actors of a run as a pool of workers: spread over the nodes, fed, watched and ended from the driver."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from avbench.errors import AvbenchError, EnvironmentProblem
from avbench.run.assignments import TICK_S, Assignment, Pool
from avbench.run.cluster.connect import Connection
from avbench.run.cluster.node_side import NodeWorker, clear_spools
from avbench.run.cluster.nodes import Node, Nodes
from avbench.run.cluster.settings import RaySettings
from avbench.run.jobs import ClipJob, ClipResult, Stopped
from avbench.run.worker_process import Message, Workers

log = logging.getLogger(__name__)

# Messages that an actor may be ahead of the driver: what the driver holds does not grow with the clips.
_AHEAD = 64
_START_ATTEMPTS = 3
_PATIENCE_S = 300.0
_ROOM_S = 60.0
_CLEAR_S = 5.0


@dataclass(eq=False)
class Actor(Assignment):
    """An actor as the driver sees it.

    Attributes:
        handle: Ray's.
        node: where it runs.
        source: what its next message comes from: the answer to its start, then the stream of its shard.
        since: when it was asked for; None once it has started, or a warning says that it has not.
        known: metrics that had stopped when it got its shard.
        lost: whether it went with its node.
    """

    handle: Any = field(kw_only=True)
    node: Node = field(kw_only=True)
    source: Any = field(kw_only=True)
    since: float | None = field(default_factory=time.monotonic)
    known: frozenset[str] = frozenset()
    lost: bool = False

    @property
    def blameless(self) -> bool:
        """Whether it went with its node."""
        return self.lost

    def give(self, shard: Sequence[ClipJob], stopped: Stopped) -> None:
        """Send it work."""
        self.take(shard)
        self.known = frozenset(stopped.reasons())
        stream = self.handle.score.options(num_returns="streaming", _generator_backpressure_num_objects=_AHEAD)
        self.source = stream.remote(list(shard), stopped.reasons())


class RayPool(Pool[Actor]):
    """The actors of a run: as many as there is work, room on the nodes, and permission for.

    Args:
        connection, nodes: the cluster.
        settings: how many actors, and what each needs.
        workers: settings of an actor; its bytes of spool are divided among those of a node.
        metrics: all that will be asked for, with the modules that define them.
        most: actors at most; None for no limit.
        clips: counts finished clips by node.
    """

    def __init__(
        self,
        connection: Connection,
        nodes: Nodes,
        settings: RaySettings,
        workers: Workers,
        metrics: Mapping[str, str],
        most: int | None,
        clips: Counter[str],
    ) -> None:
        super().__init__(workers.seconds_per_clip)
        self._ray, self._call = connection.ray, connection.call
        self._nodes, self._settings, self._workers = nodes, settings, workers
        self._metrics, self._most, self._clips = metrics, most, clips
        self._failed_starts: Counter[str] = Counter()
        self._name = uuid.uuid4().hex[:12]
        self._without_node_since: float | None = None
        self._gave_up_for: set[str] = set()  # clips over which a node was left

    def grow(self, shards: int) -> None:
        """Start actors for so many shards, on the emptiest nodes first; nodes that have joined count.

        Raises:
            EnvironmentProblem: no node has been left for minutes.
        """
        self._call(self._nodes.refresh)
        self._check_nodes()
        while len(self._members) < min(shards, shards if self._most is None else self._most):
            taken = Counter(actor.node.id for actor in self._members)
            room = {n: taken[n.id] / n.slots for n in self._nodes.usable.values() if taken[n.id] < n.slots}
            if not room:
                return
            self._members.append(self._call(self._start, min(room, key=room.__getitem__)))

    def listen(self) -> Iterator[tuple[Actor, Message | None]]:
        """Messages of actors; None, after which it is gone, from one that died.

        Raises:
            Exception: what ended an actor's work and ends the run.
        """
        for actor, message in self._call(self._receive):
            if actor not in self._members:  # it went with its node, in this round
                continue
            if isinstance(message, Exception):
                raise _on_node(message, actor.node)
            if isinstance(message, ClipResult) and self._gives_up_node(actor, message):
                yield from self._give_up_node(actor.node)
                continue
            if message is None:
                self._dismiss(actor)
                actor.lost = not self._call(self._nodes.alive, actor.node)
                self._check_start(actor)
            else:
                actor.note(message)
                if isinstance(message, ClipResult):
                    self._clips[actor.node.name] += message.last
            yield actor, message
        self._warn_of_waiting()

    def end(self) -> None:
        """End all actors, and remove what they left on their nodes."""
        self._call(self._end)

    def _start(self, node: Node) -> Actor:
        spool = replace(self._workers.spool, max_bytes=self._workers.spool.max_bytes // node.slots)
        workers = replace(self._workers, count=1, devices=(self._settings.device,), spool=spool)
        options = self._settings.actor_options() | {"scheduling_strategy": self._nodes.on(node), "max_restarts": 0}
        actor = self._ray.remote(NodeWorker).options(**options)
        handle = actor.remote(workers, self._metrics, self._settings.threads, self._name)
        return Actor(handle=handle, node=node, source=handle.prepare.remote())

    def _receive(self) -> list[tuple[Actor, Message | None]]:
        """One message of each actor that has one, waiting a moment for the first."""
        sources = {actor.source: actor for actor in self._members if actor.busy or not actor.ready}
        if not sources:
            time.sleep(TICK_S)
            return []
        ready, _ = self._ray.wait(list(sources), num_returns=1, timeout=TICK_S)
        if ready and len(sources) > 1:
            ready, _ = self._ray.wait(list(sources), num_returns=len(sources), timeout=0)
        return [(sources[source], self._next(sources[source])) for source in ready]

    def _next(self, actor: Actor) -> Message | None:
        try:
            if not actor.ready:
                problem: Exception | None = self._ray.get(actor.source)
                return problem or "ready"
            message: Message = self._ray.get(next(actor.source))
        except StopIteration:
            return "done"
        except self._ray.exceptions.RayError as error:
            log.debug("an actor on %s ended", actor.node.name, exc_info=True)
            return _foreign(error)
        return message

    def _dismiss(self, worker: Actor) -> None:
        self._members.remove(worker)
        self._call(self._ray.kill, worker.handle)

    def _check_start(self, actor: Actor) -> None:
        if actor.lost:
            self._nodes.drop(actor.node)
            return
        if actor.ready:
            self._failed_starts.pop(actor.node.id, None)
            return
        self._failed_starts[actor.node.id] += 1
        if self._failed_starts[actor.node.id] == _START_ATTEMPTS:
            self._nodes.drop(actor.node)
            log.warning("node %s is not used any more: its actors end before they can work", actor.node.name)
            if not self._nodes.usable:
                raise EnvironmentProblem(f"no actor can be started; the last one ended on node {actor.node.name}.")

    def _gives_up_node(self, actor: Actor, result: ClipResult) -> bool:
        """Whether a metric stopped that may well go on at other nodes: where they have more memory, or a network.

        A clip over which it stops at a second node counts as everywhere else: it would take all nodes in turn.
        """
        new = {name: reason for name, reason in result.stopped.items() if name not in actor.known}
        clip_id = result.clip_row.clip_id
        if not new or clip_id in self._gave_up_for or not self._nodes.usable.keys() - {actor.node.id}:
            return False
        self._gave_up_for.add(clip_id)
        reasons = "; ".join(f"{name} {reason}" for name, reason in new.items())
        log.warning("node %s is not used any more: %s", actor.node.name, reasons)
        return True

    def _give_up_node(self, node: Node) -> Iterator[tuple[Actor, None]]:
        """Leave a node; what its actors have not finished goes to others."""
        self._nodes.drop(node)
        for actor in [actor for actor in self._members if actor.node.id == node.id]:
            self._dismiss(actor)
            actor.lost = True
            yield actor, None

    def _warn_of_waiting(self) -> None:
        """Say once of each actor that it waits for room: Ray starts it when others have left the node."""
        for actor in self._members:
            if actor.ready:
                actor.since = None
            elif actor.since is not None and time.monotonic() - actor.since > _ROOM_S:
                actor.since = None
                log.warning("waiting for room on node %s: other work has what an actor needs", actor.node.name)

    def _check_nodes(self) -> None:
        if self._nodes.usable:
            self._without_node_since = None
            return
        self._without_node_since = self._without_node_since or time.monotonic()
        if time.monotonic() - self._without_node_since > _PATIENCE_S:
            raise EnvironmentProblem("no node of the Ray cluster is left to score; the same command goes on later.")

    def _end(self) -> None:
        errors = (self._ray.exceptions.RayError,)
        nodes = {actor.node.id: actor.node for actor in self._members}
        for actor in self._members:
            self._ray.kill(actor.handle)
        self._members.clear()
        task = self._ray.remote(num_cpus=0, max_retries=0)(clear_spools)
        with contextlib.suppress(*errors):
            clearing = [
                task.options(scheduling_strategy=self._nodes.on(node)).remote(self._name, _CLEAR_S)
                for node in {**nodes, **self._nodes.usable}.values()
            ]
            self._ray.wait(clearing, num_returns=len(clearing), timeout=2 * _CLEAR_S)


def _on_node(error: Exception, node: Node) -> Exception:
    """The exception, with the name of the node where it was raised."""
    if isinstance(error, AvbenchError):
        error.args = (f"node {node.name}: {error}",)
    else:
        error.add_note(f"on node {node.name}")
    return error


def _foreign(error: Exception) -> Exception | None:
    """What code of an actor raised, which ends the run; None for the death of an actor."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) and type(error).__name__.startswith("RayTaskError") else None
