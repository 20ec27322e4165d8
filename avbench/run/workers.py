"""Run clip jobs here or in worker processes; a process that dies or hangs costs the clip it was reading, no other.

Worker processes send results and write no file: the run folder is written by the process that owns its lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from avbench.files import temporary_folder
from avbench.metrics.base import get_scorers
from avbench.results import SPOOL_PREFIX
from avbench.run.assignments import Assignment, Pool
from avbench.run.jobs import ClipJob, ClipResult, Stopped, wait_for_network
from avbench.run.schedule import score_jobs
from avbench.run.score_clip import failed_result
from avbench.run.worker_pool import WorkerPool
from avbench.run.worker_process import Workers

# Shards handed out per process: enough that a quick process takes over from a slow one. Networks stay loaded between
# the shards of a process.
_SHARDS_PER_WORKER = 4

Shard = list[ClipJob]


class Backend(Protocol):
    """What scores the clips of a run: processes of this machine, or a cluster."""

    @property
    def count(self) -> int:
        """Workers, which divide the cores of a machine."""

    def run(
        self, jobs: Sequence[ClipJob], stopped: Stopped, note: Callable[[str], None]
    ) -> Generator[ClipResult, None, None]:
        """Results as they come, see `run_jobs`; `note` gets a line on the workers now and then."""


@dataclass(frozen=True)
class LocalBackend:
    """Processes of this machine."""

    workers: Workers

    @property
    def count(self) -> int:
        """Number of processes."""
        return self.workers.count

    def run(
        self, jobs: Sequence[ClipJob], stopped: Stopped, note: Callable[[str], None]
    ) -> Generator[ClipResult, None, None]:
        """Results as they come."""
        return run_jobs(jobs, self.workers, stopped)


def run_jobs(jobs: Sequence[ClipJob], workers: Workers, stopped: Stopped) -> Generator[ClipResult, None, None]:
    """Results as they come. Closing the generator ends the processes.

    Order: the results of one clip come in order, also where a process died and another one took the clip over; it then
    begins again with a first result, and rows may come twice. Several processes give clips in any order.

    Args:
        jobs: the work.
        workers: processes and devices.
        stopped: metrics that cannot run; read before each shard, and written here as metrics stop.

    Raises:
        UsageError: worker processes cannot import the script or a metric.
        EnvironmentProblem: worker processes cannot be started.
    """
    if workers.count == 1:
        yield from score_jobs(jobs, workers.store(workers.devices[0]), workers.spool, stopped)
        return
    if not jobs:
        return
    metrics = defining_modules(jobs)
    with temporary_folder(workers.spool.folder, prefix=SPOOL_PREFIX) as folder:
        workers = replace(workers, spool=replace(workers.spool, folder=folder))
        crew = Crew(lambda count: WorkerPool(replace(workers, count=count), metrics), workers.seconds_per_clip)
        yield from run_shards(make_shards(jobs, workers.count), crew, workers.count, stopped)


@dataclass(frozen=True)
class Crew:
    """How workers are had.

    Attributes:
        open_pool: starts a pool of at most so many workers.
        seconds_per_clip: the limit on decoding that the pool enforces.
    """

    open_pool: Callable[[int], Pool[Any]]
    seconds_per_clip: float


def run_shards(shards: Sequence[Shard], crew: Crew, count: int, stopped: Stopped) -> Iterator[ClipResult]:
    """Results of all shards from at most `count` workers of any kind; see `run_jobs` for their order.

    A clip in whose company a worker died is tried again alone; if its worker dies again, the clip has an error.
    """
    suspects: list[ClipJob] = []
    yield from _work_off(shards, crew, count, stopped, suspects)
    # At the end, one by one: a clip that kills its process again takes no other clip with it.
    for job in suspects:
        yield from _isolated(job, crew, stopped)


def defining_modules(jobs: Sequence[ClipJob]) -> dict[str, str]:
    """The module that defines each metric of these jobs, which workers import."""
    scorers = get_scorers(dict.fromkeys(name for job in jobs for name in job.metrics))
    return {scorer.name: scorer.function.__module__ for scorer in scorers}


def make_shards(jobs: Sequence[ClipJob], count: int) -> list[Shard]:
    """Contiguous parts of nearly equal size; single clips where no large network has to be brought in."""
    if not wait_for_network(jobs):
        return [[job] for job in jobs]
    size = max(1, -(-len(jobs) // (count * _SHARDS_PER_WORKER)))
    return [list(jobs[start : start + size]) for start in range(0, len(jobs), size)]


def _isolated(job: ClipJob, crew: Crew, stopped: Stopped) -> Iterator[ClipResult]:
    """A clip in whose company a process died: if it dies over this clip alone, it was this clip."""
    died: list[ClipJob] = []
    results: list[ClipResult] = []
    for result in _work_off([[job]], crew, 1, stopped, died):
        results.append(result)
        yield result
    if died:
        reason = "the process that read this clip died (crash or out of memory)"
        failed = failed_result(job, reason, have=[row.metric for result in results for row in result.rows])
        yield replace(failed, first=not results)


def _work_off(
    shards: Sequence[Shard], crew: Crew, count: int, stopped: Stopped, suspects: list[ClipJob]
) -> Iterator[ClipResult]:
    """Results of all shards; clips over which a process may have died have none, and are put into `suspects`."""
    pool = crew.open_pool(count)
    waiting, forgiven = deque(shards), set[str]()
    try:
        while waiting or pool.busy:
            pool.grow(len(waiting) + pool.busy)
            for worker in pool.idle[: len(waiting)]:
                worker.give(waiting.popleft(), stopped)
            for worker, message in pool.listen():
                if isinstance(message, ClipResult):
                    stopped.add(message.stopped)  # for the shards that are handed out from now on
                    yield message
                elif message is None:
                    waiting.extend(_left_by(worker, suspects, forgiven))
            for worker, job in pool.end_hanging():
                limit = crew.seconds_per_clip
                reason = f"over the limit seconds_per_clip={limit:g}: took longer than {limit:g} s to decode"
                yield failed_result(job, reason)
                if worker.left:
                    waiting.append(list(worker.left.values()))
    finally:
        pool.end()


def _left_by(worker: Assignment, suspects: list[ClipJob], forgiven: set[str]) -> list[Shard]:
    """What is to be done again of the shard of a worker that ended.

    Clips that were lost with a whole node are `forgiven` once: a clip that takes the memory of every node is found out.
    """
    if worker.blameless and forgiven.isdisjoint(worker.left):
        forgiven.update(worker.left)
        return [list(worker.left.values())] if worker.left else []
    suspect = worker.left.pop(worker.opened, None)
    rest = list(worker.left.values())
    if suspect is None and len(rest) == 1:
        suspect = rest.pop()
    if suspect is not None:
        suspects.append(suspect)
        return [rest] if rest else []
    # It died between clips, in a network: which of them it was shows when they are tried one by one.
    return [[job] for job in rest]
