"""Start, feed, watch and end the worker processes of a run, from the parent's side."""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from avbench.errors import EnvironmentProblem, UsageError
from avbench.files import new_folder
from avbench.run.assignments import TICK_S, Assignment, Pool
from avbench.run.jobs import ClipJob, Stopped
from avbench.run.worker_process import NAME, UNGUARDED, Message, Workers, work
from avbench.terminal.interrupts import ALL

_START_ATTEMPTS = 3
_END_S = 5.0


@dataclass
class Worker(Assignment):
    """A worker process as its parent sees it.

    Attributes:
        folder: where its inputs of networks wait.
    """

    process: SpawnProcess = field(kw_only=True)
    connection: Connection = field(kw_only=True)
    number: int = field(kw_only=True)
    folder: Path = field(kw_only=True)

    def give(self, shard: Sequence[ClipJob], stopped: Stopped) -> None:
        """Send it work."""
        self.take(shard)
        with contextlib.suppress(OSError):  # it died; its end of the connection says so next
            self.connection.send((list(shard), stopped.reasons()))

    def receive(self) -> Message | None:
        """Its next message; None when it has died."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            return None
        self.note(message)
        return message

    def let_go(self) -> None:
        """Make it end: at once where it is at work, else by taking its connection away."""
        if self.busy or not self.ready:
            self.process.kill()
        self.connection.close()

    def await_end(self) -> None:
        """Wait until it has ended, and remove what it left."""
        self.process.join(_END_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(_END_S)
        shutil.rmtree(self.folder, ignore_errors=True)


class WorkerPool(Pool[Worker]):
    """The worker processes of a run: as many as there is work for."""

    def __init__(self, workers: Workers, metrics: Mapping[str, str]) -> None:
        super().__init__(workers.seconds_per_clip)
        self._workers = workers
        self._metrics = dict(metrics)
        self._failed_starts = 0

    def grow(self, shards: int) -> None:
        """Start workers for so many shards, up to the number allowed."""
        while len(self._members) < min(self._workers.count, shards):
            taken = {worker.number for worker in self._members}
            number = next(n for n in range(self._workers.count) if n not in taken)
            self._members.append(_start(self._workers, number, self._metrics))

    def listen(self) -> Iterator[tuple[Worker, Message | None]]:
        """Messages of workers; None, after which it is gone, from one that died.

        Raises:
            Exception: what ended a worker's work and ends the run.
        """
        speaking = wait([worker.connection for worker in self._members], TICK_S)
        for worker in [worker for worker in self._members if worker.connection in speaking]:
            message = worker.receive()
            if isinstance(message, Exception):
                raise message
            if message is None:
                self._dismiss(worker)
                self._check_start(worker)
            elif message == "ready":
                self._failed_starts = 0
            yield worker, message

    def end(self) -> None:
        """End all workers."""
        for worker in self._members:
            worker.let_go()
        for worker in self._members:
            worker.await_end()
        self._members.clear()

    def _dismiss(self, worker: Worker) -> None:
        self._members.remove(worker)
        worker.let_go()
        worker.await_end()

    def _check_start(self, worker: Worker) -> None:
        if worker.ready:
            return
        code = worker.process.exitcode
        if code == UNGUARDED:
            raise UsageError(
                "worker processes import the script that calls avbench, for the metrics that it defines: put the call "
                'below `if __name__ == "__main__":`, or use workers=1.'
            )
        self._failed_starts += 1
        if self._failed_starts == _START_ATTEMPTS or (code or 0) > 0:
            raise EnvironmentProblem(
                f"a worker process ended before it could work (exit code {code}). Use one worker (--workers 1)."
            )


def _start(workers: Workers, number: int, metrics: dict[str, str]) -> Worker:
    # "spawn": forked children of a threaded process can hang, and CUDA does not survive a fork.
    context = multiprocessing.get_context("spawn")
    parent_end, child_end = context.Pipe()
    folder = new_folder(workers.spool.folder)
    process = context.Process(
        target=work, name=NAME, args=(child_end, workers.alone(number, folder), metrics), daemon=True
    )
    try:
        with _interrupts_held(), contextlib.nullcontext() if "__main__" in metrics.values() else _script_hidden():
            process.start()
    except OSError as error:
        raise EnvironmentProblem(f"no worker process can be started: {error.strerror or error}") from error
    child_end.close()
    return Worker(process=process, connection=parent_end, number=number, folder=folder)


@contextlib.contextmanager
def _script_hidden() -> Iterator[None]:
    """Keep a process that starts meanwhile from importing the user's script, and so from running it once more."""
    script = sys.modules["__main__"]
    hidden = {name: vars(script)[name] for name in ("__file__", "__spec__") if name in vars(script)}
    vars(script).pop("__file__", None)
    script.__spec__ = None
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(script, name, value)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep signals back until a process has started, so that neither is caught half-way; it starts deaf to them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would lift the mask when it starts with the first worker
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
