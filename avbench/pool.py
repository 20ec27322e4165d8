"""Run clip jobs here or in worker processes; a process that dies costs the clip it was working on, no other."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from avbench.encoders import EmbeddingCache, EncoderStore, Setup
from avbench.metrics.base import Score, get_scorers
from avbench.scoring import ClipJob, ClipResult, clip_facts, make_row
from avbench.staging import Room, score_jobs

# Shards handed out per process: enough that a quick process takes over from a slow one. Networks stay loaded between
# the shards of a process.
_SHARDS_PER_WORKER = 4


@dataclass(frozen=True)
class Workers:
    """The processes that score, and what each of them holds.

    Attributes:
        count: 1 works in this process.
        devices: torch devices; process i uses device i modulo their number.
        max_resident: networks kept loaded per process.
        setup: weights and precision.
        cache: folder of embeddings on disk, None for none.
        cache_bytes: its bound.
        room: where inputs of networks wait; shared out among the processes.
    """

    count: int = 1
    devices: tuple[str, ...] = ("cpu",)
    max_resident: int = 2
    setup: Setup = field(default_factory=Setup)
    cache: Path | None = None
    cache_bytes: int = 10 * 2**30
    room: Room = field(default_factory=Room)

    def store(self, device: str) -> EncoderStore:
        """An empty store as one process has it."""
        cache = None if self.cache is None else EmbeddingCache(self.cache, self.cache_bytes)
        return EncoderStore(device, self.max_resident, self.setup, cache)


@dataclass
class _Worker:
    """What a worker process keeps between shards."""

    store: EncoderStore
    room: Room
    results: Any


_worker: _Worker | None = None


def run_jobs(jobs: Sequence[ClipJob], workers: Workers, stopped: Mapping[str, str]) -> Iterator[ClipResult]:
    """Results as they come; of one clip in order.

    Args:
        jobs: the work.
        workers: processes and devices.
        stopped: metrics that the caller found unable to run; read before each job, so it may grow meanwhile.
    """
    if workers.count == 1:
        yield from score_jobs(jobs, workers.store(workers.devices[0]), workers.room, stopped)
        return
    waiting = _shards(jobs, workers.count)[::-1]
    while waiting:
        suspects: list[list[ClipJob]] = []
        yield from _pooled(waiting, suspects, workers, stopped)
        # A worker died. Clips of its shard are tried again one by one; then alone, to find out which clip it was.
        waiting += [[job] for shard in suspects if len(shard) > 1 for job in shard]
        for shard in suspects:
            if len(shard) == 1:
                yield from _isolated(shard[0], workers)


def _shards(jobs: Sequence[ClipJob], count: int) -> list[list[ClipJob]]:
    """Contiguous parts of nearly equal size; single clips where no large network has to be brought in."""
    if not any(scorer.staged for name in {m for job in jobs for m in job.metrics} for scorer in get_scorers([name])):
        return [[job] for job in jobs]
    size = max(1, -(-len(jobs) // (count * _SHARDS_PER_WORKER)))
    return [list(jobs[start : start + size]) for start in range(0, len(jobs), size)]


def _pooled(
    waiting: list[list[ClipJob]], suspects: list[list[ClipJob]], workers: Workers, stopped: Mapping[str, str]
) -> Iterator[ClipResult]:
    """Work `waiting` off from its end; when a process dies, put what was in flight and unfinished into `suspects`."""
    # "spawn": forked children of a threaded process can hang, and CUDA does not survive a fork.
    context = multiprocessing.get_context("spawn")
    flying: dict[Future[None], list[ClipJob]] = {}
    finished: set[str] = set()
    with context.Manager() as manager:
        results, numbers = manager.Queue(), manager.Queue()
        for number in range(workers.count):
            numbers.put(number)
        pool = ProcessPoolExecutor(workers.count, context, initializer=_start, initargs=(workers, numbers, results))
        try:
            while waiting or flying or not results.empty():
                while waiting and len(flying) < 2 * workers.count:
                    flying[pool.submit(_work, waiting[-1], dict(stopped))] = waiting[-1]
                    waiting.pop()
                yield from _arrived(results, finished)
                for future in wait(flying, timeout=0.02, return_when=FIRST_COMPLETED).done:
                    future.result()
                    del flying[future]
        except BrokenProcessPool:
            yield from _arrived(results, finished)
            left = [[job for job in shard if job.clip.clip_id not in finished] for shard in flying.values()]
            suspects += [shard for shard in left if shard]
        finally:
            pool.shutdown(wait=not flying, cancel_futures=True)


def _arrived(results: queue.Queue[ClipResult], finished: set[str]) -> Iterator[ClipResult]:
    """What the workers have sent so far."""
    while not results.empty():
        result = results.get()
        if result.last:
            finished.add(result.clip_row.clip_id)
        yield result


def _isolated(job: ClipJob, workers: Workers) -> Iterator[ClipResult]:
    died: list[list[ClipJob]] = []
    found = []
    for result in _pooled([[job]], died, replace(workers, count=1), {}):
        found.append(result)
        yield result
    if died:
        reason = "the process that read this clip died (crash or out of memory)"
        have = {row.metric for result in found for row in result.rows}
        scorers = [s for s in get_scorers(job.metrics) if s.judges == "clip" and s.name not in have]
        rows = [make_row(job, scorer, Score.error(reason), 0.0) for scorer in scorers]
        yield ClipResult(clip_facts(job, None, reason), rows, first=not found)


def _start(workers: Workers, numbers: queue.Queue[int], results: queue.Queue[ClipResult]) -> None:
    global _worker
    device = workers.devices[numbers.get() % len(workers.devices)]
    room = replace(workers.room, max_bytes=workers.room.max_bytes // workers.count)
    # Read when torch is first imported: processes with a thread for every core get in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers.count)))
    _worker = _Worker(workers.store(device), room, results)


def _work(jobs: list[ClipJob], stopped: dict[str, str]) -> None:
    if _worker is None:
        raise RuntimeError("the worker was not initialised")
    for result in score_jobs(jobs, _worker.store, _worker.room, stopped):
        stopped.update(result.stopped)
        _worker.results.put(result)
