"""Processes that end together: the first that fails tells why, and none goes on waiting for it."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from omninft_train.training.meeting import open_store

_LOG = logging.getLogger(__name__)
_KEY = "first-failure"
_CRASH, _INTERRUPTED = 70, 130
_LOOK_SECONDS = 1.0
# A process that is killed, or whose node is lost, says nothing any more, and NCCL waits for it. Looks are counted, not
# seconds: processes that were suspended together are not to take each other for dead. So many, as native code may keep
# a process from giving a sign for a minute.
_SILENT_LOOKS = 300
# The first to fail waits until the others know; they wait until it has printed its message.
_NOTICE_SECONDS, _PRINT_SECONDS = 1.5, 4.0


@dataclass(frozen=True)
class Failure:
    """What the first process to fail, or one that missed it, left for the others."""

    rank: int
    message: str
    exit_code: int


@contextmanager
def ending_together(rank: int, size: int) -> Iterator[None]:
    """Run the body in one of several processes; where one fails, all end within seconds.

    The error of the first goes on as it is, to be printed; the others follow with one line and its exit code. A process
    that waits in a collective operation cannot be interrupted: a thread ends it. One that gives no sign of life for
    `_SILENT_LOOKS` looks has failed as well.

    Raises:
        SystemExit: this process failed after another one.
    """
    watch = _Watch(rank, size)
    threading.Thread(target=watch.run, name="failures of other processes", daemon=True).start()
    try:
        yield
    except BaseException as error:
        watch.over.set()
        first = watch.report(error)
        if first.rank == rank:
            time.sleep(_NOTICE_SECONDS)
            raise
        if not isinstance(error, Exception):  # a signal, which all get
            raise
        # Mostly a connection that the first one closed.
        _LOG.debug("process %d: %s", rank, _text(error))
        time.sleep(_PRINT_SECONDS)
        watch.follow(first)
        raise SystemExit(first.exit_code) from error
    finally:
        watch.over.set()


class _Watch:
    """Looks for the failure of another process in the store that all share, and for signs of life of the next one."""

    def __init__(self, rank: int, size: int) -> None:
        self.over = threading.Event()
        self._rank = rank
        self._next = (rank + 1) % size  # in a ring, so that whatever dies has a neighbour that lives
        self._beats = self._silent = 0
        self._heard: bytes | None = None
        self._first: Failure | None = None
        # A connection of its own: torch's waits in operations that other threads would wait for.
        self._store = open_store()

    def run(self) -> None:
        """Until the body is over: end this process once another one has failed."""
        while not self.over.wait(_LOOK_SECONDS):
            self._first = self._look()
            if self._first is None:
                continue
            # At the end of a run the store goes with the first process, and the others are over a moment later.
            if not self.over.wait(_PRINT_SECONDS):
                self.follow(self._first)
                os._exit(self._first.exit_code)
            return

    def report(self, error: BaseException) -> Failure:
        """Leave the failure of this process for the others; returns the first one, which may be another's."""
        if self._first is not None:
            return self._first
        mine = Failure(self._rank, _text(error), _exit_code(error))
        try:
            return self._leave(mine)
        except RuntimeError:
            return _lost() if self._rank else mine

    def follow(self, first: Failure) -> None:
        """Say why this process ends."""
        _LOG.error("process %d ends, because process %d failed: %s", self._rank, first.rank, first.message)

    def _look(self) -> Failure | None:
        try:
            return _parsed(self._store.get(_KEY)) if self._store.check([_KEY]) else self._listen()
        except RuntimeError:
            return _lost()

    def _listen(self) -> Failure | None:
        """Give a sign of life, and look for that of the next process; its failure once it has given none for long."""
        self._beats += 1
        self._store.set(_alive(self._rank), str(self._beats))
        key = _alive(self._next)
        heard = self._store.get(key) if self._store.check([key]) else None
        self._silent = 0 if heard != self._heard else self._silent + 1
        self._heard = heard
        return self._leave(_killed(self._next)) if self._silent >= _SILENT_LOOKS else None

    def _leave(self, failure: Failure) -> Failure:
        """Leave a failure for all; returns the first one."""
        return _parsed(self._store.compare_set(_KEY, "", json.dumps(asdict(failure))))


def _alive(rank: int) -> str:
    return f"alive/{rank}"


def _killed(rank: int) -> Failure:
    seconds = _SILENT_LOOKS * _LOOK_SECONDS
    return Failure(rank, f"it has given no sign of life for {seconds:g} s; it was killed, or its node is lost", _CRASH)


def _lost() -> Failure:
    return Failure(0, "it can no longer be reached", _CRASH)


def _parsed(content: bytes) -> Failure:
    return Failure(**json.loads(content))


def _text(error: BaseException) -> str:
    """The message of our own errors, which say everything; others with their kind."""
    return str(error) if hasattr(error, "exit_code") else f"{type(error).__name__}: {error}"


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else _CRASH
    code: int = getattr(error, "exit_code", _INTERRUPTED if isinstance(error, KeyboardInterrupt) else _CRASH)
    return code
