"""A lock on a file: at most one process holds it, and the system takes it from a process that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock

from avbench.errors import EnvironmentProblem


def take_lock(path: Path, option: str) -> BaseFileLock:
    """The lock on `path`, held by this process until it is released; `option` chooses another folder.

    Raises:
        filelock.Timeout: another process holds it.
        EnvironmentProblem: the drive has no locks.
        OSError: the file cannot be written.
    """
    _try_lock(path, option)
    lock = FileLock(path)
    lock.acquire(timeout=0)
    return lock


@contextmanager
def locked(path: Path, option: str) -> Iterator[None]:
    """Hold the lock on `path`; raises what `take_lock` raises."""
    lock = take_lock(path, option)
    try:
        yield
    finally:
        lock.release()


def no_locks(folder: Path, option: str, error: OSError) -> EnvironmentProblem:
    """What to say of a drive that cannot lock files."""
    return EnvironmentProblem(
        f"{folder} is on a drive that cannot lock files ({error.strerror or error}), as some network drives are. "
        f"Choose a folder on a local disk with {option}."
    )


def _try_lock(path: Path, option: str) -> None:
    """Ask the system itself: FileLock takes some refusals for a lock of another process, or makes do without."""
    try:
        import fcntl
    except ImportError:  # Windows, where every drive has locks
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        pass  # held by another process, or about to be taken
    except OSError as error:
        raise no_locks(path.parent, option, error) from error
    finally:
        os.close(descriptor)
