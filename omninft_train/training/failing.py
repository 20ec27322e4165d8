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

from omninft_train.training.liveness import Liveness
from omninft_train.training.meeting import open_store

_LOG = logging.getLogger(__name__)
_KEY = "first-failure"
_CRASH, _INTERRUPTED = 70, 130
_LOOK_SECONDS = 1.0
_ECHO_LOOKS = 4
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
    thread = threading.Thread(target=watch.run, name="failures of other processes", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        watch.over.set()
        thread.join(_PRINT_SECONDS)
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
        thread.join(_PRINT_SECONDS)  # sockets are not to be closed below its hands
        watch.liveness.close()


class _Watch:
    """Looks for the failure of another process, in the store that all share and in their connections."""

    def __init__(self, rank: int) -> None:
        self.over = threading.Event()
        self._rank = rank
        self._first: Failure | None = None
        # A connection of its own: torch's waits in operations that other threads would wait for.
        self._store = open_store()
        self.liveness = Liveness(rank, self._store)

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
            return self._cause(error) or self._leave(mine)
        except RuntimeError:
            return _lost() if self._rank else mine

    def follow(self, first: Failure) -> None:
        """Say why this process ends."""
        _LOG.error("process %d ends, because process %d failed: %s", self._rank, first.rank, first.message)

    def _cause(self, error: BaseException) -> Failure | None:
        """The failure that an error echoes, if it does: mostly a connection that another one's end closed."""
        if hasattr(error, "exit_code") or not isinstance(error, Exception):
            return None
        for _ in range(_ECHO_LOOKS):
            if (first := self._look()) is not None:
                return first
            time.sleep(_LOOK_SECONDS)
        return None

    def _look(self) -> Failure | None:
        try:
            if self._store.check([_KEY]):
                return _parsed(self._store.get(_KEY))
            gone = self.liveness.gone()
            return None if gone is None else self._leave(_killed(gone))
        except RuntimeError:
            return _lost()

    def _leave(self, failure: Failure) -> Failure:
        """Leave a failure for all; returns the first one."""
        return _parsed(self._store.compare_set(_KEY, "", json.dumps(asdict(failure))))


def _killed(rank: int) -> Failure:
    return Failure(rank, "it ended without a word; it was killed, or its node is lost", _CRASH)


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
