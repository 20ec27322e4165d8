"""Run clip jobs here or in worker processes; a process that dies or hangs costs the clip it was reading, no other."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace

from avbench.metrics.base import get_scorers
from avbench.run.schedule import failed_result, score_jobs, spool_folder
from avbench.run.score_clip import ClipJob, ClipResult
from avbench.run.worker_pool import Crew, Worker
from avbench.run.worker_process import Workers

# Shards handed out per process: enough that a quick process takes over from a slow one. Networks stay loaded between
# the shards of a process.
_SHARDS_PER_WORKER = 4

Shard = list[ClipJob]


def run_jobs(
    jobs: Sequence[ClipJob], workers: Workers, stopped: Mapping[str, str]
) -> Generator[ClipResult, None, None]:
    """Results as they come; of one clip in order. Closing the generator ends the processes.

    Args:
        jobs: the work.
        workers: processes and devices.
        stopped: metrics that the caller found unable to run; read before each job, so it may grow meanwhile.

    Raises:
        UsageError: worker processes cannot import the script or a metric.
        EnvironmentProblem: worker processes cannot be started.
    """
    if workers.count == 1:
        yield from score_jobs(jobs, workers.store(workers.devices[0]), workers.room, stopped)
        return
    if not jobs:
        return
    suspects: list[ClipJob] = []
    with spool_folder(workers.room.folder) as folder:
        workers = replace(workers, room=replace(workers.room, folder=folder))
        yield from _work_off(_shards(jobs, workers.count), workers, stopped, suspects)
        for job in suspects:
            yield from _isolated(job, workers, stopped)


def _shards(jobs: Sequence[ClipJob], count: int) -> list[Shard]:
    """Contiguous parts of nearly equal size; single clips where no large network has to be brought in."""
    if not any(scorer.deferred for scorer in get_scorers(name for job in jobs for name in job.metrics)):
        return [[job] for job in jobs]
    size = max(1, -(-len(jobs) // (count * _SHARDS_PER_WORKER)))
    return [list(jobs[start : start + size]) for start in range(0, len(jobs), size)]


def _isolated(job: ClipJob, workers: Workers, stopped: Mapping[str, str]) -> Iterator[ClipResult]:
    """A clip in whose company a process died: if it dies over this clip alone, it was this clip."""
    died: list[ClipJob] = []
    found: list[ClipResult] = []
    for result in _work_off([[job]], replace(workers, count=1), stopped, died):
        found.append(result)
        yield result
    if died:
        reason = "the process that read this clip died (crash or out of memory)"
        failed = failed_result(job, reason, have=[row.metric for result in found for row in result.rows])
        yield replace(failed, first=not found)


def _work_off(
    shards: Sequence[Shard], workers: Workers, stopped: Mapping[str, str], suspects: list[ClipJob]
) -> Iterator[ClipResult]:
    """Work shards off; clips over which a process may have died are put into `suspects`."""
    metrics = get_scorers(name for shard in shards for job in shard for name in job.metrics)
    crew = Crew(workers, {scorer.name: scorer.function.__module__ for scorer in metrics})
    waiting = deque(shards)
    try:
        while waiting or crew.busy:
            crew.grow(len(waiting) + crew.busy)
            for worker in crew.idle[: len(waiting)]:
                worker.give(waiting.popleft(), stopped)
            for worker, message in crew.listen():
                if isinstance(message, ClipResult):
                    yield message
                elif message is None:
                    waiting.extend(_left_by(worker, suspects))
            for worker, job in crew.end_hanging():
                limit = workers.seconds_per_clip
                reason = f"over the limit seconds_per_clip={limit:g}: took longer than {limit:g} s to decode"
                yield failed_result(job, reason)
                if worker.left:
                    waiting.append(list(worker.left.values()))
    finally:
        crew.end()


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
