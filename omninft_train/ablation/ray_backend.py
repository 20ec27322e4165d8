"""Steps on a Ray cluster whose machines share the ablation's folder. Ray is imported here and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from avbench.errors import EnvironmentProblem
from omninft_train.ablation.execute import Finished, execute, outcome
from omninft_train.ablation.grid import Grid
from omninft_train.ablation.steps import Step

_MANY = 10_000  # steps handed over at a time: Ray decides how many run


class RayBackend:
    """Each step is a Ray task, the same function that runs it here; results are therefore the same.

    Raises:
        EnvironmentProblem: Ray is not installed, or no cluster answers.
    """

    slots = _MANY

    def __init__(self) -> None:
        try:
            import ray
        except ImportError as error:
            raise EnvironmentProblem(
                "The Ray backend needs Ray, which is not installed: pip install 'avbench[ray]'. Without it, use the "
                "local backend (--backend local); several machines can run the same command on a shared folder."
            ) from error
        self._ray: Any = ray
        self._own = not ray.is_initialized()
        if self._own:
            try:
                ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise EnvironmentProblem(
                    f"no Ray cluster: {error}. Check RAY_ADDRESS, or use the local backend (--backend local)."
                ) from error
        self._running: dict[Any, Step] = {}

    def submit(self, grid: Grid, out: Path, step: Step) -> None:
        """Hand a step over; a worker that dies is not replaced, as the step's record would not say so."""
        task = self._ray.remote(
            num_cpus=grid.threads, num_gpus=grid.gpus.get(step.kind, 0), max_retries=0
        )(execute)  # fmt: skip
        self._running[task.remote(grid, out.resolve(), step)] = step

    def collect(self, seconds: float) -> list[Finished]:
        """Steps that ended, waiting at most so long for the first."""
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        return [self._result(reference) for reference in done]

    def _result(self, reference: Any) -> Finished:
        step = self._running.pop(reference)
        errors = (self._ray.exceptions.RayError,)
        try:
            return outcome(step.id, lambda: _unwrapped(self._ray, reference))
        except errors as error:
            return Finished(step.id, "failed", message=f"Ray: {str(error).splitlines()[0]}", exit_code=4)

    def close(self, *, stop: bool) -> None:
        """Let go of the cluster; with `stop`, cancel what is running."""
        if stop:
            for reference in self._running:
                self._ray.cancel(reference)  # interrupts the task, which ends its process
        if self._own:
            self._ray.shutdown()


def _unwrapped(ray: Any, reference: Any) -> Finished:
    """A task's result; errors of avbench come wrapped in one of Ray's."""
    try:
        result: Finished = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if cause is None:
            raise
        raise cause from error
    return result
