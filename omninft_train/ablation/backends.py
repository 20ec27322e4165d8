"""Backends that run steps: processes of this machine, or a Ray cluster."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Literal, Protocol

from omninft_train.ablation.execute import Children, Finished, execute, outcome
from omninft_train.ablation.grid import Grid
from omninft_train.ablation.steps import Step


class Backend(Protocol):
    """Where steps run."""

    slots: int

    def submit(self, grid: Grid, out: Path, step: Step) -> None:
        """Start a step."""
        ...

    def collect(self, seconds: float) -> list[Finished]:
        """Steps that ended, waiting at most so long for the first."""
        ...

    def close(self, *, stop: bool) -> None:
        """Give back what it holds; with `stop`, end what is running."""
        ...


class LocalBackend:
    """Processes of this machine, `slots` side by side."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._pool = ThreadPoolExecutor(max_workers=slots)
        self._children = Children()
        self._running: dict[Future[Finished], Step] = {}

    def submit(self, grid: Grid, out: Path, step: Step) -> None:
        """Start a step."""
        self._running[self._pool.submit(execute, grid, out, step, self._children)] = step

    def collect(self, seconds: float) -> list[Finished]:
        """Steps that ended, waiting at most so long for the first."""
        done, _ = wait(self._running, timeout=seconds, return_when=FIRST_COMPLETED)
        return [outcome(self._running.pop(future).id, future.result) for future in done]

    def close(self, *, stop: bool) -> None:
        """Give back threads; with `stop`, end the processes first."""
        if stop:
            self._children.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)


def make_backend(name: Literal["local", "ray"], grid: Grid) -> Backend:
    """The backend of this name.

    Raises:
        EnvironmentProblem: Ray is not installed or cannot be reached.
    """
    if name == "local":
        return LocalBackend(grid.jobs)
    from omninft_train.ablation.ray_backend import RayBackend

    return RayBackend()
