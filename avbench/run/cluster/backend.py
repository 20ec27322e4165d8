"""Clip results from the actors of a Ray cluster: the cluster is joined and its nodes are checked before the run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice

from avbench.clips import Clip
from avbench.encoders.store import GROUP
from avbench.errors import UsageError
from avbench.metrics.base import Scorer
from avbench.run.cluster.connect import Connection
from avbench.run.cluster.node_side import Inquiry, NodeWorker
from avbench.run.cluster.nodes import Nodes
from avbench.run.cluster.pool import RayPool
from avbench.run.cluster.settings import RaySettings
from avbench.run.cluster.visibility import needed_files
from avbench.run.jobs import ClipJob, ClipResult, Stopped, wait_for_network
from avbench.run.worker_process import Workers
from avbench.run.workers import Crew, defining_modules, run_shards
from avbench.weights.config import WeightsConfig

_NOTE_S = 2.0
# Nodes that join later find work to take over, and a lost actor gives back no more.
_MOST_CLIPS = 16 * GROUP


@dataclass(frozen=True)
class RayBackend:
    """Runs jobs on a cluster whose nodes have been checked.

    Attributes:
        connection, nodes: the cluster.
        settings: how many actors, and what each needs.
        workers: what else an actor is given.
        inquiry: what nodes are asked of the files of jobs; None where those of all clips have been checked.
    """

    connection: Connection
    nodes: Nodes
    settings: RaySettings
    workers: Workers
    inquiry: Inquiry | None = None

    @property
    def count(self) -> int:
        """Actors that the nodes have room for now, or fewer if fewer are allowed."""
        slots = sum(node.slots for node in self.nodes.usable.values())
        return max(1, min(slots, self.settings.workers or slots))

    def run(
        self, jobs: Sequence[ClipJob], stopped: Stopped, note: Callable[[str], None]
    ) -> Generator[ClipResult, None, None]:
        """Results as they come, as `run_jobs` gives them; `note` gets a line on the nodes every few seconds."""
        if not jobs:
            return
        if self.inquiry is not None:
            files = needed_files([job.clip for job in jobs])
            self.connection.call(self.nodes.require_files, replace(self.inquiry, files=files))
        metrics, clips = defining_modules(jobs), Counter[str]()

        def open_pool(count: int) -> RayPool:
            most = self.settings.workers if count > 1 else count
            return RayPool(self.connection, self.nodes, self.settings, self.workers, metrics, most, clips)

        # Joining nodes are used also where one worker has room now.
        count = max(2, self.count) if self.settings.workers != 1 else 1
        crew = Crew(open_pool, self.workers.seconds_per_clip)
        start = last = time.monotonic()
        for result in run_shards(taper(_anywhere(jobs), self.count), crew, count, stopped):
            yield result
            if (now := time.monotonic()) - last > _NOTE_S:
                last = now
                note(node_line(clips, now - start))


@contextmanager
def open_cluster(
    settings: RaySettings, workers: Workers, clips: Sequence[Clip] | None, scorers: Sequence[Scorer]
) -> Iterator[RayBackend]:
    """Join or start a cluster and check its nodes; leave it at the end.

    Args:
        settings: how many actors, and what each needs.
        workers: what else an actor is given.
        clips: their files have to be seen by every node. None for a run that goes on: of what is left to do, files are
            checked when that is known.
        scorers: all metrics of the run.

    Raises:
        UsageError: RAY_ADDRESS cannot be used, or Ray refuses what an actor is to take.
        EnvironmentProblem: no Ray, no cluster, or a node that differs or does not see a file.
    """
    metrics = {scorer.name: scorer.function.__module__ for scorer in scorers}
    # Relative paths would start at the folder where an actor happens to work.
    workers = replace(workers, cache=workers.cache and workers.cache.absolute(), setup=_found_anywhere(workers.setup))
    connection = Connection()
    try:
        connection.call(_require_accepted, connection, settings)
        inquiry = Inquiry(metrics, workers.setup, needed_files(clips or ()))
        nodes = connection.call(Nodes, connection, settings, inquiry)
        connection.call(nodes.require)
        yield RayBackend(connection, nodes, settings, workers, inquiry if clips is None else None)
    finally:
        connection.close()


def _require_accepted(connection: Connection, settings: RaySettings) -> None:
    """Have Ray check what actors take, as rules for accelerators are its own.

    Raises:
        UsageError: it refuses.
    """
    try:
        connection.ray.remote(NodeWorker).options(**settings.actor_options())
    except (ValueError, TypeError) as error:
        raise UsageError(f"Ray refuses the resources of a worker: {' '.join(str(error).split())}") from error


def taper(jobs: Sequence[ClipJob], count: int) -> list[list[ClipJob]]:
    """Contiguous shards for `count` workers: large first, small at the end, so that a quick node takes over.

    Single clips where no large network has to be brought in. Otherwise none is smaller than what networks run over at
    a time, except the last.
    """
    if not wait_for_network(jobs):
        return [[job] for job in jobs]
    left = iter(jobs)
    return [list(islice(left, size)) for size in shard_sizes(len(jobs), count)]


def shard_sizes(clips: int, workers: int) -> Iterator[int]:
    """Clips of each shard: a quarter of what is left, dealt to all, within bounds.

    At least what networks run over at a time, if there is enough; at most `_MOST_CLIPS`.
    """
    least = min(GROUP, max(1, -(-clips // (4 * workers))))
    while clips > 0:
        size = min(clips, _MOST_CLIPS, max(least, clips // (4 * workers)))
        yield size
        clips -= size


def node_line(clips: Counter[str], seconds: float) -> str:
    """Clips per second of the run and of each node."""
    total = sum(clips.values()) / seconds
    each = ", ".join(f"{name} {number / seconds:.2f}" for name, number in sorted(clips.items()))
    return f"{total:.2f} clips/s: {each}" if clips else "no clip yet"


def _anywhere(jobs: Sequence[ClipJob]) -> list[ClipJob]:
    """The jobs with paths that do not depend on this process's folder."""
    context = jobs[0].context
    context = replace(context, root=context.root.absolute(), setup=_found_anywhere(context.setup))
    return [replace(job, clip=_absolute(job.clip), context=context) for job in jobs]


def _found_anywhere(setup: WeightsConfig) -> WeightsConfig:
    return replace(setup, weights_dir=setup.weights_dir and setup.weights_dir.absolute())


def _absolute(clip: Clip) -> Clip:
    return replace(clip, video=clip.video.absolute(), audio=clip.audio and clip.audio.absolute())
