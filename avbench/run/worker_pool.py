"""Start, feed, watch and end the worker processes of a run, from the parent's side."""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from avbench.errors import EnvironmentProblem, UsageError
from avbench.files import new_folder
from avbench.run.jobs import ClipJob, ClipResult, Stopped
from avbench.run.worker_process import NAME, UNGUARDED, Message, Opening, Workers, work
from avbench.terminal.interrupts import ALL

# The limit on a clip is checked inside the worker as well, between packets. What is still decoding so much later hangs.
_GRACE_S = 5.0
_TICK_S = 0.5
_START_ATTEMPTS = 3
_END_S = 5.0


@dataclass
class Worker:
    """A worker process as its parent sees it.

    Attributes:
        folder: where its inputs of networks wait.
        ready: whether it has started; busy: whether it has a shard.
        left: jobs of its shard without a last result, by clip.
        opened: the clip it decodes or judges for the first time, empty between clips.
        decoding: whether it decodes that clip now, and for how many seconds.
    """

    process: SpawnProcess
    connection: Connection
    number: int
    folder: Path
    ready: bool = False
    busy: bool = False
    left: dict[str, ClipJob] = field(default_factory=dict)
    opened: str = ""
    decoding: bool = False
    seconds: float = 0.0

    def give(self, shard: Sequence[ClipJob], stopped: Stopped) -> None:
        """Send it work."""
        self.left, self.busy = {job.clip.clip_id: job for job in shard}, True
        with contextlib.suppress(OSError):  # it died; its end of the connection says so next
            self.connection.send((list(shard), stopped.reasons()))

    def receive(self) -> Message | None:
        """Its next message; None when it has died."""
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            return None
        self.ready = True
        if isinstance(message, Opening):
            self.opened, self.decoding, self.seconds = message.clip_id, True, 0.0
        elif message == "decoded":
            self.decoding = False
        elif message == "done":
            self.busy = False
        elif isinstance(message, ClipResult):
            self.opened = ""
            if message.last:
                self.left.pop(message.clip_row.clip_id, None)
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


class WorkerPool:
    """The worker processes of a run: as many as there is work for."""

    def __init__(self, workers: Workers, metrics: Mapping[str, str]) -> None:
        self._workers = workers
        self._metrics = dict(metrics)
        self._members: list[Worker] = []
        self._failed_starts = 0
        self._last_look = time.monotonic()

    @property
    def busy(self) -> int:
        """Workers that have work."""
        return sum(worker.busy for worker in self._members)

    @property
    def idle(self) -> list[Worker]:
        """Workers that wait for work."""
        return [worker for worker in self._members if worker.ready and not worker.busy]

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
        speaking = wait([worker.connection for worker in self._members], _TICK_S)
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

    def end_hanging(self) -> Iterator[tuple[Worker, ClipJob]]:
        """End workers that decode one clip for too long; they and that clip, which they have not left any more."""
        # Time while this process was stopped, or busy elsewhere, is not held against a clip.
        now = time.monotonic()
        step, self._last_look = min(now - self._last_look, 2 * _TICK_S), now
        limit = self._workers.seconds_per_clip
        for worker in list(self._members):
            if worker.decoding:
                worker.seconds += step
                if worker.seconds > limit + min(limit, _GRACE_S):
                    self._dismiss(worker)
                    yield worker, worker.left.pop(worker.opened)

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
    return Worker(process, parent_end, number, folder)


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
