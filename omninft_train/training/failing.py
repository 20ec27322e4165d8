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

import torch.distributed as dist

_LOG = logging.getLogger(__name__)
_KEY = "first-failure"
_CRASH, _INTERRUPTED = 70, 130
_LOOK_SECONDS = 1.0
# The first to fail waits until the others know; they wait until it has printed its message.
_NOTICE_SECONDS, _PRINT_SECONDS = 1.5, 4.0


@dataclass(frozen=True)
class Failure:
    """What the first process to fail left for the others."""

    rank: int
    message: str
    exit_code: int


@contextmanager
def ending_together(rank: int) -> Iterator[None]:
    """Run the body in one of several joined processes; where one fails, all end within seconds.

    The error of the first goes on as it is, to be printed; the others follow with one line and its exit code. A process
    that waits in a collective operation cannot be interrupted: a thread ends it.

    Args:
        rank: of this process.

    Raises:
        SystemExit: this process failed after another one.
    """
    watch = _Watch(rank)
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
    """Looks for the failure of another process in the store that torchrun, or the first process, keeps for all."""

    def __init__(self, rank: int) -> None:
        self.over = threading.Event()
        self._rank = rank
        self._first: Failure | None = None
        # A connection of its own: torch's waits in operations that other threads would wait for.
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(address, port, is_master=False, wait_for_workers=False)  # type: ignore[attr-defined]
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self._store = dist.PrefixStore(f"omninft-train/{attempt}", store)  # type: ignore[attr-defined]

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
            return _parsed(self._store.compare_set(_KEY, "", json.dumps(asdict(mine))))
        except RuntimeError:
            return _lost() if self._rank else mine

    def follow(self, first: Failure) -> None:
        """Say why this process ends."""
        _LOG.error("process %d ends, because process %d failed: %s", self._rank, first.rank, first.message)

    def _look(self) -> Failure | None:
        try:
            return _parsed(self._store.get(_KEY)) if self._store.check([_KEY]) else None
        except RuntimeError:
            return _lost()


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
