"""Rewards while clips are still being sampled: judged on threads, in the groups and the order of one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial

import torch

from omninft_train.models.backbone import Decoded
from omninft_train.prompts import TrainPrompt
from omninft_train.rewards.spec import Rewards, Score, Scored

_WAITING = 2  # groups for each thread, the one that is judged included: what is sampled faster waits, unsampled


class Overlap:
    """Judges clips that come one batch after another, while the caller makes the next ones.

    Numbers are those of `Rewards.score`: clips are judged in the groups that its backend forms, by one thread in their
    order, or by as many as the backend has workers. Sampling and judging must not share random numbers; the sampler
    has generators of its own.

    Args:
        rewards: that judge. Nothing else may use them between `add` and `finish`.
        group: clips that are judged together; that of the backend.
    """

    def __init__(self, rewards: Rewards, group: int) -> None:
        self._rewards = rewards
        self._group = group
        self._pool: ThreadPoolExecutor | None = None
        self._held: list[tuple[Decoded, TrainPrompt, str]] = []
        self._futures: list[Future[list[list[Score]]]] = []

    def add(self, clips: Sequence[Decoded], prompts: Sequence[TrainPrompt], keys: Sequence[str]) -> None:
        """Take in more clips; waits while enough others are in work.

        Raises:
            EnvironmentProblem: a reward cannot go on, with the first clips or with those before.
        """
        self._held += zip(clips, prompts, keys, strict=True)
        while len(self._held) >= self._group:
            self._submit(self._group)

    def finish(self) -> Scored:
        """Rewards of all clips since the last call, in the order in which they came.

        Raises:
            EnvironmentProblem: a reward cannot go on.
        """
        if self._held:
            self._submit(len(self._held))
        rows = [row for future in self._futures for row in future.result()]
        self._futures = []
        return self._rewards.scored(rows)

    def drop(self) -> None:
        """Forget all clips; a group that is being judged is waited for, as a network takes one group at a time."""
        for future in self._futures:
            future.cancel()
        wait([future for future in self._futures if not future.cancelled()])
        self._held, self._futures = [], []

    def close(self) -> None:
        """End the threads without waiting: the group that is being judged is their last."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool, self._held, self._futures = None, [], []

    def _submit(self, count: int) -> None:
        group, self._held = self._held[:count], self._held[count:]
        first = self._pool is None
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._rewards.workers, "rewards", initializer=_on_this_device())
        while len(self._unfinished()) >= _WAITING * self._rewards.workers:
            wait(self._unfinished(), return_when=FIRST_COMPLETED)
        self._futures.append(self._pool.submit(self._rewards.judge, *map(list, zip(*group, strict=True))))
        if first:  # loads the networks, and while that lasts libraries change what holds for the whole process
            self._futures[0].result()
        for future in self._futures:
            if future.done():
                future.result()  # an error ends the step now, not when all is sampled

    def _unfinished(self) -> list[Future[list[list[Score]]]]:
        return [future for future in self._futures if not future.done()]


def _on_this_device() -> Callable[[], None]:
    """For a new thread: CUDA's current device, which each thread has of its own, is that of this thread."""
    if not torch.cuda.is_available():
        return lambda: None
    return partial(torch.cuda.set_device, torch.cuda.current_device())
