"""Processes that end together: the first that fails tells why, and none goes on waiting for it."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial

from omninft_train.training.liveness import Liveness
from omninft_train.training.meeting import open_store

_LOG = logging.getLogger(__name__)
_KEY = "first-failure"
_CRASH, _INTERRUPTED = 70, 130
_TERMINATED = (129, 143)  # by SIGHUP or SIGTERM, as torchrun and schedulers send them
_LOOK_SECONDS = 1.0
# A process whose error may come of another one's end waits so long to hear of that, before it leaves its own.
_ECHO_LOOKS = 4
# Of the store, once a process is gone: it may be gone with it, and says nothing for a quarter of an hour.
_STORE_SECONDS = 5.0
# The first to fail waits until the others know; they wait until it has printed its message.
_NOTICE_SECONDS, _PRINT_SECONDS = 1.5, 4.0


@dataclass(frozen=True)
class Failure:
    """What the first process to fail, or one that missed it, left for the others."""

    rank: int
    message: str
    exit_code: int


@contextmanager
def ending_together(rank: int) -> Iterator[None]:
    """Run the body in one of several processes; where one fails, or is killed, all end within seconds.

    The error of the first goes on as it is, to be printed; the others follow with one line and its exit code. A process
    that waits in a collective operation cannot be interrupted: a thread ends it.

    Raises:
        SystemExit: this process failed after another one.
    """
    watch = _Watch(rank)
    try:
        yield
    except BaseException as error:
        watch.over.set()
        first = _undisturbed(partial(watch.conclude, error))
        if first.rank == rank or _is_for_all(error, first):
            raise
        _settle(error)
        raise SystemExit(first.exit_code) from error
    finally:
        watch.close()


class _Watch:
    """Looks for the failure of another process, in the store that all share and in their connections."""

    def __init__(self, rank: int) -> None:
        self.over = threading.Event()
        self._closed = threading.Event()
        self._rank = rank
        self._first: Failure | None = None
        # A connection of its own: torch's waits in operations that other threads would wait for.
        self._store = open_store()
        self._liveness = Liveness(rank, self._store)
        # Two threads: the store does not answer any more where the node that keeps it is lost.
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._listen)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """The body is over, well or not."""
        self.over.set()
        self._closed.set()
        for thread in self._threads:
            thread.join(_PRINT_SECONDS)  # sockets are not to be closed below its hands
        self._liveness.close()

    def _read(self) -> None:
        """Until the body is over: end this process once another one has failed."""
        while not self.over.wait(_LOOK_SECONDS):
            first = self._look()
            if first is None:
                continue
            self._first = first
            # At the end of a run the store goes with the first process, and the others are over a moment later.
            if not self.over.wait(_PRINT_SECONDS):
                self.follow(first)
                os._exit(first.exit_code)
            return

    def _listen(self) -> None:
        """Until all is over: leave for the others that a process is gone, or end where the store went with it."""
        while not self._closed.wait(_LOOK_SECONDS):
            gone = self._liveness.gone()
            if gone is None:
                continue
            failure = _killed(gone)
            # Where a failure is known, processes end because of it.
            if self._first is None and not _within(_STORE_SECONDS, partial(self._leave, failure)):
                self.follow(failure)
                os._exit(failure.exit_code)
            return

    def conclude(self, error: BaseException) -> Failure:
        """Let the others know of this process's failure, or say why it follows another one; returns the first."""
        self._first = first = self._report(error)
        if first.rank == self._rank:
            time.sleep(_NOTICE_SECONDS)
            return first
        _LOG.debug("process %d: %s", self._rank, _text(error))
        if isinstance(error, Exception):
            time.sleep(_PRINT_SECONDS)
        if not _is_for_all(error, first):
            self.follow(first)
        return first

    def _report(self, error: BaseException) -> Failure:
        """Leave the failure of this process for the others; returns the first one, which may be another's."""
        if self._first is not None:
            return self._first
        mine = Failure(self._rank, _text(error), _exit_code(error))
        try:
            return self._cause(error) or self._leave(mine)
        except RuntimeError:
            return _lost() if self._rank else mine

    def follow(self, first: Failure) -> None:
        """Say why this process ends."""
        _LOG.error("process %d ends, because process %d failed: %s", self._rank, first.rank, first.message)

    def _cause(self, error: BaseException) -> Failure | None:
        """The failure that an error echoes, if it does: mostly a connection that another one's end closed."""
        code = getattr(error, "exit_code", None)
        if code not in _TERMINATED and (code is not None or not isinstance(error, Exception)):
            return None
        for _ in range(_ECHO_LOOKS):
            if (first := self._look()) is not None:
                return first
            time.sleep(_LOOK_SECONDS)
        return None

    def _look(self) -> Failure | None:
        try:
            return _parsed(self._store.get(_KEY)) if self._store.check([_KEY]) else None
        except RuntimeError:
            return _lost()

    def _leave(self, failure: Failure) -> Failure:
        """Leave a failure for all; returns the first one."""
        return _parsed(self._store.compare_set(_KEY, "", json.dumps(asdict(failure))))


def _undisturbed(work: Callable[[], Failure]) -> Failure:
    """What some work gives, though torchrun ends the neighbours of a process that failed, in the middle of it."""
    done: list[Failure] = []
    finished = threading.Event()

    def run() -> None:
        done.append(work())
        finished.set()

    threading.Thread(target=run, daemon=True).start()
    while True:
        try:
            finished.wait()  # not `join`: interrupted once, it takes the thread for ended
            return done[0]
        except BaseException as stop:
            if getattr(stop, "exit_code", None) not in _TERMINATED:
                raise
            _settle(stop)


def _settle(error: BaseException) -> None:
    """Of a signal's exception: this process ends, and hears no further one."""
    getattr(error, "settle", lambda: None)()


def _is_for_all(error: BaseException, first: Failure) -> bool:
    """Whether an error is a signal that all processes get, of which another one was the first to tell."""
    return not isinstance(error, Exception) and first.exit_code in (*_TERMINATED, _INTERRUPTED)


def _within(seconds: float, work: Callable[[], object]) -> bool:
    """Whether some work with the store is done in time."""
    done: list[object] = []

    def run() -> None:
        with suppress(RuntimeError):  # it cannot be reached
            done.append(work())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    thread.join(1.0)  # once more, where native code kept all threads waiting
    return bool(done)


def _killed(rank: int) -> Failure:
    return Failure(rank, "it ended without a word; it was killed, or its node is lost", _CRASH)


def _lost() -> Failure:
    return Failure(0, "what it, or torchrun beside it, keeps for all can no longer be reached", _CRASH)


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
