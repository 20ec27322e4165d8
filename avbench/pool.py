"""Run clip jobs here or in worker processes; a process that dies costs the clip it was working on, no other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

from avbench.encoders import EncoderStore
from avbench.metrics.base import Score, get_scorers
from avbench.scoring import ClipJob, ClipResult, clip_facts, make_row, score_clip

_store: EncoderStore | None = None

# Enough to keep the processes of one machine busy, few enough to try again one by one after a crash.
_IN_FLIGHT = 32


def run_jobs(
    jobs: Sequence[ClipJob], *, workers: int, device: str, max_resident: int, stopped: Mapping[str, str]
) -> Iterator[ClipResult]:
    """Results in order of completion.

    Args:
        jobs: the work.
        workers: 1 runs in this process; more start that many.
        device: where networks run.
        max_resident: networks kept loaded per process.
        stopped: metrics that the caller found unable to run; read before each job, so it may grow meanwhile.
    """
    if workers == 1:
        store = EncoderStore(device, max_resident)
        for job in jobs:
            yield score_clip(_without(job, stopped), store)
        return
    waiting = list(reversed(jobs))
    while waiting:
        suspects: list[ClipJob] = []
        yield from _pooled(waiting, suspects, stopped, _pool(workers, device, max_resident))
        # A worker died. Whoever was in flight is tried again alone, to find out which clip it was.
        for job in suspects:
            yield _isolated(job, device, max_resident)


def _without(job: ClipJob, stopped: Mapping[str, str]) -> ClipJob:
    return replace(job, metrics=tuple(name for name in job.metrics if name not in stopped))


def _pooled(
    waiting: list[ClipJob], suspects: list[ClipJob], stopped: Mapping[str, str], pool: ProcessPoolExecutor
) -> Iterator[ClipResult]:
    """Work `waiting` off from its end; when a process dies, put the jobs in flight into `suspects`."""
    flying: dict[Future[ClipResult], ClipJob] = {}
    with pool:
        try:
            while waiting or flying:
                while waiting and len(flying) < _IN_FLIGHT:
                    job = _without(waiting.pop(), stopped)
                    flying[pool.submit(_work, job)] = job
                done, _ = wait(flying, return_when=FIRST_COMPLETED)
                for future in done:
                    result = future.result()
                    del flying[future]
                    yield result
        except BrokenProcessPool:
            suspects += flying.values()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _isolated(job: ClipJob, device: str, max_resident: int) -> ClipResult:
    try:
        with _pool(1, device, max_resident) as pool:
            return pool.submit(_work, job).result()
    except BrokenProcessPool:
        reason = "the process that read this clip died (crash or out of memory)"
        rows = [make_row(job, scorer, Score.error(reason), 0.0) for scorer in get_scorers(job.metrics)]
        return ClipResult(clip_facts(job, None, reason), rows)


def _pool(workers: int, device: str, max_resident: int) -> ProcessPoolExecutor:
    # "spawn": forked children of a threaded process can hang, and CUDA does not survive a fork.
    return ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start, initargs=(device, max_resident)
    )


def _start(device: str, max_resident: int) -> None:
    global _store
    _store = EncoderStore(device, max_resident)


def _work(job: ClipJob) -> ClipResult:
    if _store is None:
        raise RuntimeError("the worker was not initialised")
    return score_clip(job, _store)
