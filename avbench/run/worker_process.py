"""Main loop of a worker process: it scores jobs, reports its progress, and ends with its parent."""

from __future__ import annotations

import ctypes
import importlib
import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal

from avbench.encoders import EmbeddingCache, EncoderStore, WeightsConfig
from avbench.errors import UsageError
from avbench.metrics.base import registry
from avbench.run.jobs import ClipJob, ClipResult, Stopped
from avbench.run.schedule import SpoolLimit, score_jobs
from avbench.terminal.interrupts import ALL

NAME = "avbench worker"
UNGUARDED = 93
"""Exit code of a worker that found its parent's call of avbench in the script that it had to import."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Workers:
    """Settings of the worker processes.

    Attributes:
        count: 1 works in this process.
        devices: torch devices; process i uses device i modulo their number.
        max_resident: networks kept loaded per process.
        setup: weights and precision.
        cache: folder of embeddings on disk, None for none.
        cache_bytes: its bound.
        spool: where inputs of networks wait; its bytes are divided among the processes.
        seconds_per_clip: a process that decodes one clip for longer is ended.
    """

    count: int = 1
    devices: tuple[str, ...] = ("cpu",)
    max_resident: int = 2
    setup: WeightsConfig = field(default_factory=WeightsConfig)
    cache: Path | None = None
    cache_bytes: int = 10 * 2**30
    spool: SpoolLimit = field(default_factory=SpoolLimit)
    seconds_per_clip: float = math.inf

    def store(self, device: str) -> EncoderStore:
        """An empty store as one process has it."""
        cache = None if self.cache is None else EmbeddingCache(self.cache, self.cache_bytes)
        return EncoderStore(device, self.max_resident, self.setup, cache)

    def alone(self, number: int, folder: Path) -> Workers:
        """The settings of process `number` alone, with inputs of networks below `folder`."""
        spool = SpoolLimit(folder, self.spool.max_bytes // self.count)
        return replace(self, devices=(self.devices[number % len(self.devices)],), spool=spool)


@dataclass(frozen=True)
class Opening:
    """The clip is about to be decoded; "decoded" follows."""

    clip_id: str


Message = Literal["ready", "decoded", "done"] | Opening | ClipResult | Exception
"""What a worker sends: an exception ends it, and the run."""

Task = tuple[list[ClipJob], dict[str, str]]
"""What a worker is sent: jobs, and metrics that have stopped with the reason."""


def work(connection: Connection, workers: Workers, metrics: Mapping[str, str]) -> None:
    """The life of a worker process.

    Args:
        connection: to the parent.
        workers: what this process has for itself.
        metrics: all that will be asked for, with the modules that define them.
    """
    _end_with_parent()
    _leave_interrupts_to_parent()
    # Read when torch is first imported: processes with a thread for every core get in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers.count)))
    try:
        import_metrics(metrics)
        store = workers.store(workers.devices[0])
        connection.send("ready")
        while True:
            task: Task = connection.recv()
            _score(task, store, workers.spool, connection)
            connection.send("done")
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has no more work
    except Exception as error:  # noqa: BLE001 - the parent raises it
        connection.send(portable(error))


def _score(task: Task, store: EncoderStore, spool: SpoolLimit, connection: Connection) -> None:
    jobs, stopped = task

    def watch(job: ClipJob | None) -> None:
        connection.send("decoded" if job is None else Opening(job.clip.clip_id))

    for result in score_jobs(jobs, store, spool, Stopped(stopped), watch):
        connection.send(result)


def refuse_unguarded() -> None:
    """End a worker that runs its parent's script: a call of avbench in there is the parent's to make.

    Raises:
        SystemExit: this is such a worker.
    """
    process = multiprocessing.current_process()
    if process.name == NAME and getattr(process, "_inheriting", False):  # as multiprocessing itself asks
        raise SystemExit(UNGUARDED)


def import_metrics(metrics: Mapping[str, str]) -> None:
    """Make metrics of the caller's own modules known here.

    Raises:
        UsageError: one stays unknown.
    """
    cure = "define it at the top level of a module that can be imported, or use workers=1"
    for name, module in metrics.items():
        try:
            if module != "__main__":
                importlib.import_module(module)
        except ImportError as error:
            raise UsageError(f"a worker process cannot import the metric {name!r} ({error}): {cure}") from error
        if name not in registry():
            raise UsageError(f"worker processes do not know the metric {name!r}: {cure}")


def _leave_interrupts_to_parent() -> None:
    """A key reaches all processes of a terminal; the parent decides, and ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ALL)  # it was started without


def _end_with_parent() -> None:
    """End this process when its parent does, however that ends."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":  # at once, even inside native code that keeps all threads from running
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    started_by = os.getppid()

    def follow() -> None:
        # The parent's id as well: a process that the parent forked may hold its end of the sentinel open.
        while not wait([parent.sentinel], 1.0) and os.getppid() == started_by:
            pass
        os._exit(1)

    threading.Thread(target=follow, daemon=True, name="follows parent").start()


def portable(error: Exception) -> Exception:
    """The exception with its traceback as a note; its text alone where it cannot be pickled."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - just made here
    except Exception:  # noqa: BLE001 - whatever its class does
        return RuntimeError(f"{type(error).__name__}: {error}")
    return copy if isinstance(copy, Exception) else RuntimeError(str(error))
