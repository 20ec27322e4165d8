"""Run clip jobs here or in worker processes; a process that dies or hangs costs the clip it was reading, no other.

Worker processes send results and write no file: the run folder is written by the process that owns its lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace

from avbench.files import temporary_folder
from avbench.metrics.base import get_scorers
from avbench.results import SPOOL_PREFIX
from avbench.run.jobs import ClipJob, ClipResult, Stopped
from avbench.run.schedule import score_jobs
from avbench.run.score_clip import failed_result
from avbench.run.worker_pool import Worker, WorkerPool
from avbench.run.worker_process import Workers

# Shards handed out per process: enough that a quick process takes over from a slow one. Networks stay loaded between
# the shards of a process.
_SHARDS_PER_WORKER = 4

Shard = list[ClipJob]


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
    suspects: list[ClipJob] = []
    with temporary_folder(workers.spool.folder, prefix=SPOOL_PREFIX) as folder:
        workers = replace(workers, spool=replace(workers.spool, folder=folder))
        yield from _work_off(make_shards(jobs, workers.count), workers, stopped, suspects)
        # At the end, one by one: a clip that kills its process again takes no other clip with it.
        for job in suspects:
            yield from _isolated(job, workers, stopped)


def make_shards(jobs: Sequence[ClipJob], count: int) -> list[Shard]:
    """Contiguous parts of nearly equal size; single clips where no large network has to be brought in."""
    if not any(scorer.deferred for scorer in get_scorers(name for job in jobs for name in job.metrics)):
        return [[job] for job in jobs]
    size = max(1, -(-len(jobs) // (count * _SHARDS_PER_WORKER)))
    return [list(jobs[start : start + size]) for start in range(0, len(jobs), size)]


def _isolated(job: ClipJob, workers: Workers, stopped: Stopped) -> Iterator[ClipResult]:
    """A clip in whose company a process died: if it dies over this clip alone, it was this clip."""
    died: list[ClipJob] = []
    results: list[ClipResult] = []
    for result in _work_off([[job]], replace(workers, count=1), stopped, died):
        results.append(result)
        yield result
    if died:
        reason = "the process that read this clip died (crash or out of memory)"
        failed = failed_result(job, reason, have=[row.metric for result in results for row in result.rows])
        yield replace(failed, first=not results)


def _work_off(
    shards: Sequence[Shard], workers: Workers, stopped: Stopped, suspects: list[ClipJob]
) -> Iterator[ClipResult]:
    """Results of all shards; clips over which a process may have died have none, and are put into `suspects`."""
    metrics = get_scorers(name for shard in shards for job in shard for name in job.metrics)
    pool = WorkerPool(workers, {scorer.name: scorer.function.__module__ for scorer in metrics})
    waiting = deque(shards)
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
                    waiting.extend(_left_by(worker, suspects))
            for worker, job in pool.end_hanging():
                limit = workers.seconds_per_clip
                reason = f"over the limit seconds_per_clip={limit:g}: took longer than {limit:g} s to decode"
                yield failed_result(job, reason)
                if worker.left:
                    waiting.append(list(worker.left.values()))
    finally:
        pool.end()


def _left_by(worker: Worker, suspects: list[ClipJob]) -> list[Shard]:
    """What is to be done again of the shard of a worker that ended."""
    suspect = worker.left.pop(worker.opened, None)
    rest = list(worker.left.values())
    if suspect is None and len(rest) == 1:
        suspect = rest.pop()
    if suspect is not None:
        suspects.append(suspect)
        return [rest] if rest else []
    # It died between clips, in a network: which of them it was shows when they are tried one by one.
    return [[job] for job in rest]
