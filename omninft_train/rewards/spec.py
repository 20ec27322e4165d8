"""Rewards: their specification, the backend that gives their scores, and their values for the rollouts of a step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from omninft_train.errors import TrainingStopped, UsageError
from omninft_train.method.advantages import Route
from omninft_train.models.backbone import Decoded
from omninft_train.prompts import TrainPrompt

Score = float | str
"""What a scorer says of a clip: a number, or why there is none."""


@dataclass(frozen=True)
class RewardSpec:
    """One reward: scale x clamp(score).

    Attributes:
        scorer: name of an avbench metric, or "module:function" of a `Judge`.
        weight: in the weighted sum of advantages.
        route: which branch it trains. A judge gets the prompt's text for that modality.
        scale: factor of the value; -1 for a metric that is better when lower.
        clamp: bounds of the score before it is scaled.

    Raises:
        UsageError: no such route, or a number that cannot be used.
    """

    scorer: str
    weight: float
    route: Route
    scale: float = 1.0
    clamp: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.route not in get_args(Route):
            raise UsageError(f"reward '{self.scorer}': route = {self.route!r}; expected video, audio or both.")
        if not (math.isfinite(self.weight) and math.isfinite(self.scale)):
            raise UsageError(f"reward '{self.scorer}': weight {self.weight} and scale {self.scale} must be finite.")
        if self.clamp is not None and not self.clamp[0] < self.clamp[1]:
            raise UsageError(f"reward '{self.scorer}': clamp = {list(self.clamp)}; expected [lower, upper].")

    @property
    def name(self) -> str:
        """Short name for logs."""
        return self.scorer.rpartition(":")[2].removeprefix("reward_")

    def value(self, score: Score) -> float:
        """The reward for a score, NaN for one that failed."""
        if isinstance(score, str) or not math.isfinite(score):
            return math.nan
        low, high = self.clamp or (-math.inf, math.inf)
        return self.scale * min(max(score, low), high)


@dataclass(frozen=True)
class Scored:
    """Rewards of B rollouts.

    Attributes:
        values: (B, R) float64; NaN where invalid.
        valid: (B, R) bool.
        reasons: one text for each invalid value, "scorer: what happened".
    """

    values: Tensor
    valid: Tensor
    reasons: list[str]


class RewardOptions(Protocol):
    """Options of `make_rewards`; see `config.RewardSection`."""

    @property
    def reward(self) -> tuple[RewardSpec, ...]: ...
    @property
    def backend(self) -> Literal["local", "ray"]: ...
    @property
    def device(self) -> str: ...
    @property
    def offload(self) -> bool: ...
    @property
    def weights(self) -> Literal["checkpoints", "keyed-random", "keyed-random-reduced"]: ...
    @property
    def weights_dir(self) -> str | None: ...
    @property
    def accepted(self) -> tuple[str, ...]: ...
    @property
    def precision(self) -> Literal["fp32", "bf16", "fp16"]: ...
    @property
    def max_failed_fraction(self) -> float: ...


class RewardBackend(Protocol):
    """Backend of rewards: scores clips in this process or in others."""

    def judge(self, clips: Sequence[Decoded], prompts: Sequence[TrainPrompt], keys: Sequence[str]) -> list[list[Score]]:
        """Scores of B clips by R rewards."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


class Rewards:
    """The rewards of a run.

    Args:
        max_failed_fraction: fraction of failures of one reward in a step that ends the run, in [0, 1].
        workers: groups of clips that the backend judges side by side.

    Attributes:
        room: makes room on the device while clips are judged.
    """

    def __init__(
        self, specs: Sequence[RewardSpec], backend: RewardBackend, max_failed_fraction: float, workers: int = 1
    ) -> None:
        self.specs = tuple(specs)
        self.workers = workers
        self._backend = backend
        self._max_failed = max_failed_fraction
        self.room: Callable[[], AbstractContextManager[None]] = nullcontext

    def score(self, clips: Sequence[Decoded], prompts: Sequence[TrainPrompt], keys: Sequence[str]) -> Scored:
        """Judge clips; each network sees several at once, and each clip once.

        Args:
            keys: an id of each, all different.

        Raises:
            EnvironmentProblem: a network cannot be loaded or run at all.
        """
        return self.scored(self.judge(clips, prompts, keys))

    def judge(self, clips: Sequence[Decoded], prompts: Sequence[TrainPrompt], keys: Sequence[str]) -> list[list[Score]]:
        """What the scorers say of clips, as `score` takes them: a row for each clip."""
        if len(set(keys)) != len(clips) or any("|" in key for key in keys):
            raise ValueError(f"{len(clips)} clips need as many different keys without '|', got {list(keys)}")
        with self.room():
            return self._backend.judge(clips, prompts, keys)

    def scored(self, scores: Sequence[Sequence[Score]]) -> Scored:
        """Rewards for what the scorers said, (B, R)."""
        rows = [[spec.value(score) for spec, score in zip(self.specs, row, strict=True)] for row in scores]
        values = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(self.specs))
        valid = values.isfinite()
        reasons = [f"{self.specs[k].scorer}: {_reason(scores[i][k])}" for i, k in (~valid).nonzero().tolist()]
        return Scored(values.where(valid, math.nan), valid, reasons)

    def check(self, scored: Scored) -> None:
        """Stop where too much is invalid; rewards of weight 0 are left out.

        A reward that always fails would leave its branch untrained, so the worst reward decides, not the mean.

        Raises:
            TrainingStopped: a reward failed for more than `max_failed_fraction` of the rollouts; with the reasons,
                equal ones counted.
        """
        counted = [index for index, spec in enumerate(self.specs) if spec.weight != 0]
        total = len(scored.valid)
        failed = {self.specs[index].scorer: int((~scored.valid[:, index]).sum()) for index in counted}
        worst = max(failed, key=lambda name: failed[name], default=None)
        if worst is None or failed[worst] <= self._max_failed * total:
            return
        failures = "\n".join(f"  {count} x {reason}" for reason, count in Counter(scored.reasons).most_common(10))
        raise TrainingStopped(
            f"reward '{worst}' failed for {failed[worst]} of {total} rollouts of this step; "
            f"rewards.max_failed_fraction = {self._max_failed:g} allows {int(self._max_failed * total)}. Failures:\n"
            f"{failures}\nThe last checkpoint is untouched. Fix the reward or the clips and run the same command again."
        )

    def beside(self, others: Rewards) -> Rewards:
        """These rewards and others behind them, as one; whoever opened the two closes them."""
        return Rewards(self.specs + others.specs, _Both(self._backend, others._backend), self._max_failed)

    def close(self) -> None:
        """Give back networks or workers."""
        self._backend.close()


def _reason(score: Score) -> str:
    return score if isinstance(score, str) else f"{score} times the scale is not finite"


@dataclass(frozen=True)
class _Both:
    """Two backends, whose scores stand side by side."""

    one: RewardBackend
    other: RewardBackend

    def judge(self, clips: Sequence[Decoded], prompts: Sequence[TrainPrompt], keys: Sequence[str]) -> list[list[Score]]:
        parts = (backend.judge(clips, prompts, keys) for backend in (self.one, self.other))
        return [[*row, *more] for row, more in zip(*parts, strict=True)]

    def close(self) -> None:
        for backend in (self.one, self.other):
            backend.close()


@dataclass(frozen=True)
class SetMetric:
    """A metric of all clips together, computed from a few numbers of each, so that no clip has to be kept.

    Attributes:
        of_clip: statistics of a clip and its prompt: any count of finite numbers.
        of_set: the value, from the statistics of all clips and the prompt of each.
    """

    of_clip: Callable[[Decoded, TrainPrompt], Sequence[float]]
    of_set: Callable[[Sequence[Sequence[float]], Sequence[TrainPrompt]], float]
