"""Signals that ask a process to end, as exceptions: what is open gets closed, and what is temporary goes."""

from __future__ import annotations

import _thread
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# A key held down, or a scheduler that repeats itself, must not cut short the clearing up.
_DEAF_S = 2.0
_AGAIN_S = 0.1

TERMINATE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
ALL = (signal.SIGINT, *TERMINATE)


class Interrupted(BaseException):
    """A signal asked this process to end. No `Exception`, and no KeyboardInterrupt: libraries end themselves at one.

    Whoever handles it calls `settle`; until then it is raised again when some code in between drops it.
    """

    def __init__(self, number: int, raiser: _Raiser) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self._raiser = raiser

    @property
    def exit_code(self) -> int:
        """Exit code of the signal, as shells report it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.number

    def settle(self) -> None:
        """It has come through: no signal is heard any more, the process ends."""
        self._raiser.active = False


class _Raiser:
    """A signal handler that raises `Interrupted` until it has come through."""

    def __init__(self) -> None:
        self.active = True
        self._raised: weakref.ref[Interrupted] | None = None
        self._deaf_until = 0.0

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.active or now < self._deaf_until:
            return
        self._deaf_until, stop = now + _DEAF_S, Interrupted(number, self)
        self._raised = weakref.ref(stop, lambda _: self._again(number))
        try:
            raise stop
        finally:
            del stop  # a frame of its own traceback must not keep it alive

    def _again(self, number: int) -> None:
        """Some code in between took the exception for a failure of its own and dropped it: imports and C code do."""
        if self.active:
            # Later, and elsewhere: Python drops what is raised while an object is freed.
            timer = threading.Timer(_AGAIN_S, self._send, [number])
            timer.daemon = True
            timer.start()

    def _send(self, number: int) -> None:
        if not self.active:
            return
        self._deaf_until = 0.0
        if hasattr(signal, "pthread_kill"):  # ends the main thread's waiting, too
            signal.pthread_kill(threading.main_thread().ident or 0, number)
        else:
            _thread.interrupt_main(signal.Signals(number))


@contextmanager
def interruptible(numbers: tuple[int, ...] = ALL) -> Iterator[None]:
    """Raise `Interrupted` where the process is when a signal comes, for signals that nobody else handles.

    A signal that is ignored (nohup) stays ignored. Nothing happens outside of the main thread, which gets no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raiser, unhandled = _Raiser(), (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler in unhandled}
    for number in before:
        signal.signal(number, raiser)
    try:
        yield
    finally:
        raiser.active = False
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the process as they always do, but after what is open inside has been closed."""
    try:
        with interruptible(TERMINATE):
            yield
    except Interrupted as stop:
        # Where the command line listens as well, it is the command line that settles it.
        if signal.getsignal(stop.number) is signal.SIG_DFL:
            signal.raise_signal(stop.number)
        raise
