"""One training at a time in a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, Timeout

from omninft_train.errors import EnvironmentProblem
from omninft_train.files import make_folder, take_lock
from omninft_train.training.distributed import World


@contextmanager
def exclusive(folder: Path, world: World) -> Iterator[None]:
    """Hold a run's folder while the body runs; all processes of `world` fail together where that cannot be.

    Two trainings in one folder would resume from, replace and prune each other's checkpoints. The lock goes with the
    process, so one that was killed leaves none behind.

    Raises:
        EnvironmentProblem: another training holds the folder, it cannot be written, or its file system has no locks.
    """
    lock, problem = _take(folder) if world.is_main else (None, None)
    # The other processes wait here, so that none of them goes on alone into the first collective.
    problem = world.gather_objects(problem)[0]  # type: ignore[assignment]
    if problem is not None:
        raise EnvironmentProblem(problem)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _take(folder: Path) -> tuple[BaseFileLock | None, str | None]:
    """The lock, or why it cannot be had."""
    try:
        make_folder(folder, "--out")
        return take_lock(folder / ".lock", "--out"), None
    except Timeout:
        problem = f"{folder} is in use by another training. Wait for it, or choose another run folder (--out)."
    except EnvironmentProblem as error:
        problem = str(error)
    except OSError as error:
        problem = (
            f"{folder} cannot be written or locked ({error.strerror or error}). Choose another run folder (--out)."
        )
    return None, problem
