"""Rewards on Ray actors: clips are dealt out in the groups that one process would form, so numbers are the same."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from omninft_train.errors import AvbenchError, EnvironmentProblem
from omninft_train.models.backbone import Decoded
from omninft_train.prompts import TrainPrompt
from omninft_train.rewards.spec import RewardBackend, Score

_NAMESPACE = "omninft_train"


class RayRewardBackend:
    """Scores from actors: one on each GPU of the cluster, or one per two CPU cores for rewards on the CPU.

    Processes that train together share the actors. Ray finds the cluster itself (RAY_ADDRESS, or one that runs here);
    where there is none it starts one on this machine.

    Args:
        make: builds the backend that each actor holds.
        device: kind of device of the networks, "cpu" or "cuda".
        group: clips handed out at a time.

    Raises:
        EnvironmentProblem: Ray is not installed or not reached, has no GPU for a backend on GPUs, or an actor cannot
            build its backend.
    """

    def __init__(self, make: Callable[[], RewardBackend], device: str, group: int) -> None:
        self._ray = _ray()
        self._group = group
        resources = self._ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if device != "cpu" else 0
        if device != "cpu" and not gpus:
            raise EnvironmentProblem(f"rewards.device = '{device}': the Ray cluster has no GPU.")
        run = _run_name()
        actor = self._ray.remote(num_gpus=1 if gpus else 0)(Worker)
        self._workers = [
            actor.options(name=f"{run}-{number}", namespace=_NAMESPACE, get_if_exists=True).remote(make)
            for number in range(gpus or max(1, int(resources.get("CPU", 1)) // 2))
        ]
        # Processes with few clips do not all ask the same actor, nor do calls that follow each other.
        self._turns = count(int(os.environ.get("RANK", "0")))
        problems = [text for text in self._get([worker.prepare.remote() for worker in self._workers]) if text]
        if problems:
            raise EnvironmentProblem(f"on a Ray worker: {problems[0]}")

    @property
    def workers(self) -> int:
        """Number of actors."""
        return len(self._workers)

    def judge(self, clips: Sequence[Decoded], prompts: Sequence[TrainPrompt], keys: Sequence[str]) -> list[list[Score]]:
        """Scores of B clips by R rewards; several threads may call it.

        Raises:
            EnvironmentProblem: an actor died, or cannot go on.
        """
        jobs = []
        for start in range(0, len(clips), self._group):
            part = slice(start, start + self._group)
            worker = self._workers[next(self._turns) % len(self._workers)]
            jobs.append(worker.judge.remote(list(clips[part]), list(prompts[part]), list(keys[part])))
        return [row for rows in self._get(jobs) for row in rows]

    def close(self) -> None:
        """End the actors."""
        for worker in self._workers:
            self._ray.kill(worker)
        self._workers = []

    def _get(self, jobs: Sequence[Any]) -> list[Any]:
        try:
            return list(self._ray.get(list(jobs)))
        except self._ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, AvbenchError):
                raise cause from None
            raise EnvironmentProblem(f"a Ray worker of rewards failed: {error}") from error


class Worker:
    """Code of an actor: a backend and its answers."""

    def __init__(self, make: Callable[[], RewardBackend]) -> None:
        self._make = make
        self._backend: RewardBackend | None = None

    def prepare(self) -> str | None:
        """Build the backend once; what is wrong, if anything is."""
        try:
            self._backend = self._backend or self._make()
        except AvbenchError as error:
            return str(error)
        return None

    def judge(self, clips: Sequence[Decoded], prompts: Sequence[TrainPrompt], keys: Sequence[str]) -> list[list[Score]]:
        """Scores of B clips by R rewards."""
        if self._backend is None:
            raise RuntimeError("prepare was not called")
        return self._backend.judge(clips, prompts, keys)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise EnvironmentProblem("rewards.backend = 'ray' needs Ray: pip install 'avbench[ray]'") from error
    try:
        ray.init(namespace=_NAMESPACE, ignore_reinit_error=True, log_to_driver=False)
    except (ConnectionError, RuntimeError, OSError) as error:
        raise EnvironmentProblem(f"no Ray cluster can be reached or started: {error}") from error
    return ray


def _run_name() -> str:
    """The same in all processes that torchrun started together, and in no other."""
    port = os.environ.get("MASTER_PORT")
    return f"{os.environ.get('MASTER_ADDR', '')}:{port}" if port else uuid.uuid4().hex
