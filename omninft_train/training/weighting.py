"""How rewards weigh: as the recipe says, or by their gradients. What a method remembers is kept in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from omninft_train.config import ArrSection, Config, MarbleSection
from omninft_train.method.advantages import BRANCHES
from omninft_train.method.arr import mixed_weights
from omninft_train.method.marble import direction_factors, min_norm_weights, smoothed
from omninft_train.models.policy import Policy
from omninft_train.rewards.spec import RewardSpec
from omninft_train.training.diagnostics import number
from omninft_train.training.tracking import reward_key

Weights = Mapping[str, Tensor]
"""Weights (R,) of the rewards, for each branch."""


@dataclass(frozen=True)
class Probe:
    """One reward whose gradient is measured by itself.

    Attributes:
        weights: 1 for that reward and 0 for all others.
        branches: whose losses it comes through.
        token_weights: whether tokens keep their weights.
    """

    weights: Tensor
    branches: tuple[str, ...] = BRANCHES
    token_weights: bool = True


class FixedWeights:
    """Rewards weigh what the recipe says, and nothing is measured."""

    measures = False

    def __init__(self, rewards: Sequence[RewardSpec]) -> None:
        self.names = [reward.name for reward in rewards]
        self.prior = torch.tensor([reward.weight for reward in rewards], dtype=torch.float64)

    def weights(self, step: int) -> Weights:
        """Weights of the step's rewards."""
        return dict.fromkeys(BRANCHES, self.prior)

    def probes(self, step: int) -> list[Probe]:
        """Rewards whose gradients the step needs; none in most steps."""
        return []

    def solve(self, step: int, gram: Tensor) -> Tensor | None:
        """Take in products (P, P) of the probes' gradients.

        Returns:
            Factors (P,) of these gradients that make the step, or None where the step's own loss does.
        """
        return None

    def state(self) -> dict[str, Any]:
        """What later steps depend on, for a checkpoint."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave. That of other rewards or of another method is no use, and left."""

    def log(self, step: int) -> dict[str, float]:
        """Weights as they are after the step, where they are not those of the recipe."""
        if not self.measures:
            return {}
        return {
            reward_key(name, f"weight_{branch}"): float(weight)
            for branch, weights in self.weights(step).items()
            for name, weight in zip(self.names, weights, strict=True)
        }

    def _one(self, index: int) -> Tensor:
        return torch.nn.functional.one_hot(torch.tensor(index), len(self.names)).double()

    def _of_all(self, used: list[int], weights: Tensor) -> Tensor:
        """Weights (R,) of all rewards from those that are used; 0 for the others."""
        return torch.zeros_like(self.prior).index_put((torch.tensor(used, dtype=torch.long),), weights)


class MarbleWeights(FixedWeights):
    """MARBLE: every few steps, the step is a balanced sum of the rewards' gradients; between, their weights stay.

    Rewards of weight 0 take no part; how large the weights of the others are does not matter.

    Source: MARBLE (arXiv 2605.06507), its amortised form.
    """

    measures = True

    def __init__(self, rewards: Sequence[RewardSpec], options: MarbleSection) -> None:
        super().__init__(rewards)
        self._options = options
        self._used = [index for index, weight in enumerate(self.prior.tolist()) if weight != 0]
        self._alphas: Tensor | None = None  # (K,) of the rewards used
        self._solved = -1

    def weights(self, step: int) -> Weights:
        """The smoothed weights, alike for both branches; equal ones before the first solution."""
        alphas = self._alphas
        if alphas is None:
            alphas = torch.full((len(self._used),), 1 / max(len(self._used), 1), dtype=torch.float64)
        return dict.fromkeys(BRANCHES, self._of_all(self._used, alphas))

    def probes(self, step: int) -> list[Probe]:
        """Each reward, in the first steps and then every few."""
        options = self._options
        due = self._alphas is None or step < options.warmup_steps or step - self._solved >= options.every
        return [Probe(self._one(index)) for index in self._used] if due else []

    def solve(self, step: int, gram: Tensor) -> Tensor:
        """The balanced step; its weights, smoothed, hold for the steps that follow."""
        weights = min_norm_weights(gram)
        self._alphas, self._solved = smoothed(self._alphas, weights, self._options.smoothing), step
        return direction_factors(gram, weights)

    def state(self) -> dict[str, Any]:
        """Weights by reward, and the step of the last solution."""
        if self._alphas is None:
            return {}
        return {"marble": dict(zip(self._names(), self._alphas.tolist(), strict=True)), "solved": self._solved}

    def load(self, state: Mapping[str, Any]) -> None:
        alphas = state.get("marble", {})
        if list(alphas) == self._names():
            self._alphas = torch.tensor(list(alphas.values()), dtype=torch.float64)
            self._solved = state["solved"]

    def _names(self) -> list[str]:
        return [self.names[index] for index in self._used]


class ArrWeights(FixedWeights):
    """Adaptive Reward Routing: in each branch, the recipe's weights mixed with MARBLE's for that branch alone.

    A solution holds from the next step on; the steps themselves follow their own loss.

    Source: Adaptive Reward Routing (arXiv 2609.37200).
    """

    measures = True

    def __init__(self, rewards: Sequence[RewardSpec], options: ArrSection) -> None:
        super().__init__(rewards)
        self._options = options
        self._used: dict[str, list[int]] = {
            branch: [i for i, one in enumerate(rewards) if one.weight != 0 and one.route in (branch, "both")]
            for branch in BRANCHES
        }
        self._balanced: dict[str, Tensor | None] = dict.fromkeys(BRANCHES)
        self._solved = -1

    def weights(self, step: int) -> Weights:
        """Weights of the branches' own rewards; others are 0."""
        return {branch: self._of(branch, step) for branch in BRANCHES}

    def _of(self, branch: str, step: int) -> Tensor:
        used, balanced = self._used[branch], self._balanced[branch]
        weights = self.prior[used]
        if balanced is not None and step >= self._options.warmup_steps:
            weights = mixed_weights(weights, balanced, self._options.kappa)
        return self._of_all(used, weights)

    def probes(self, step: int) -> list[Probe]:
        """Each reward of each branch, from the last step of the warm-up on and then every few."""
        options = self._options
        fresh = self._solved >= 0 and step - self._solved < options.every
        if options.kappa == 0 or step + 1 < options.warmup_steps or fresh:
            return []
        return [
            Probe(self._one(i), branches=(branch,), token_weights=False)
            for branch in BRANCHES
            for i in self._used[branch]
        ]

    def solve(self, step: int, gram: Tensor) -> None:
        """Weights for the steps that follow."""
        first = 0
        for branch in BRANCHES:
            rows = slice(first, first + len(self._used[branch]))
            solution = min_norm_weights(gram[rows, rows])
            self._balanced[branch] = smoothed(self._balanced[branch], solution, self._options.smoothing)
            first = rows.stop
        self._solved = step

    def state(self) -> dict[str, Any]:
        """Weights by branch and reward, and the step of the last solution."""
        if self._solved < 0:
            return {}
        weights = {
            branch: dict(zip(self._names(branch), values.tolist(), strict=True))
            for branch, values in self._balanced.items()
            if values is not None
        }
        return {"arr": weights, "solved": self._solved}

    def load(self, state: Mapping[str, Any]) -> None:
        kept = state.get("arr")
        if kept is None or any(list(kept[branch]) != self._names(branch) for branch in kept):
            return
        for branch, values in kept.items():
            self._balanced[branch] = torch.tensor(list(values.values()), dtype=torch.float64)
        self._solved = state["solved"]

    def _names(self, branch: str) -> list[str]:
        return [self.names[index] for index in self._used[branch]]


def make_weighting(config: Config) -> FixedWeights:
    """The weighting that a configuration asks for."""
    rewards = config.rewards.reward
    if config.arr.enabled:
        return ArrWeights(rewards, config.arr)
    return MarbleWeights(rewards, config.marble) if config.marble.enabled else FixedWeights(rewards)


Gradients = dict[str, Tensor]


def take_gradients(policy: Policy) -> Gradients:
    """The policy's gradients by name, which it loses; parameters without one are left out."""
    taken = {}
    for name, parameter in policy.trainable().items():
        if parameter.grad is not None:
            taken[name], parameter.grad = parameter.grad, None
    return taken


def gram_matrix(gradients: Sequence[Gradients]) -> Tensor:
    """Products (P, P) float64 of gradients; of sharded ones too, and then all processes have to call this."""
    gram = torch.zeros(len(gradients), len(gradients), dtype=torch.float64)
    for i, one in enumerate(gradients):
        for j, other in enumerate(gradients[: i + 1]):
            common = one.keys() & other.keys()
            products = [(one[name].double() * other[name].double()).sum() for name in sorted(common)]
            gram[i, j] = gram[j, i] = number(sum(products[1:], start=products[0])) if products else 0.0
    return gram


def add_gradients(policy: Policy, gradients: Sequence[Gradients], factors: Tensor) -> None:
    """Add the weighted sum of gradients to the policy's own; those of factor 0, which may not be finite, are left."""
    for named, factor in zip(gradients, factors.tolist(), strict=True):
        for name, parameter in policy.trainable().items():
            if factor == 0 or name not in named:
                continue
            part = factor * named[name]
            parameter.grad = part if parameter.grad is None else parameter.grad + part
