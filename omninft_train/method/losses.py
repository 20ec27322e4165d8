"""DiffusionNFT's objective for one stream, its KL term, and how two streams combine. Functions of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Space = Literal["x0", "velocity"]

_LEAST_WEIGHT = 1e-5


@dataclass(frozen=True)
class LossOptions:
    """Constants of the objective.

    Attributes:
        beta: mix of policy and old policy in the two implicit policies.
        advantage_clip: A_max.
        space: residuals of clean estimates or of velocities.
        adaptive_weight_grad: let gradients flow through the mean absolute residual that each rollout's loss is divided
            by, as the release of OmniNFT does.
        kl_coef, kl_space: weight of the pull to the reference, and of what its square is taken.
        video_weight, audio_weight: of the branches.
        branches: their weighted mean, or their weighted sum; of the KL terms as well.
        clip_over_beta: multiply a branch by A_max / beta.
    """

    beta: float = 1.0
    advantage_clip: float = 5.0
    space: Space = "x0"
    adaptive_weight_grad: bool = False
    kl_coef: float = 1e-4
    kl_space: Space = "x0"
    video_weight: float = 1.0
    audio_weight: float = 1.0
    branches: Literal["mean", "sum"] = "mean"
    clip_over_beta: bool = True


@dataclass(frozen=True)
class Branch:
    """One stream of B rollouts, each at one noise level.

    Attributes:
        v_theta, v_old: velocities (B, L, D) of the policy and the old policy at x_t.
        x_t: (B, L, D) = (1 - t) x0 + t noise.
        x0: the rollout's clean latents, (B, L, D).
        t: (B,) in (0, 1].
    """

    v_theta: Tensor
    v_old: Tensor
    x_t: Tensor
    x0: Tensor
    t: Tensor


@dataclass(frozen=True)
class BranchLoss:
    """Loss of one branch.

    Attributes:
        loss: (B,).
        per_token: (B, L), before token weights and A_max / beta.
        weight_plus, weight_minus: (B,) the adaptive weights.
    """

    loss: Tensor
    per_token: Tensor
    weight_plus: Tensor
    weight_minus: Tensor


def branch_loss(branch: Branch, r: Tensor, token_weights: Tensor | None, options: LossOptions) -> BranchLoss:
    """The objective of one stream.

    Args:
        r: optimality (B,) in [0, 1].
        token_weights: (B, L) without gradient, or None for equal ones.

    Source: DiffusionNFT; token weights from OmniNFT.
    """
    now, old, target = _in_space(branch, options.space)
    beta = options.beta
    plus = beta * now + (1 - beta) * old - target
    minus = (1 + beta) * old - beta * now - target
    weight_plus, weight_minus = (_adaptive_weight(residual, options) for residual in (plus, minus))
    positive = r[:, None]
    per_token = positive * plus.square().mean(dim=-1) / weight_plus[:, None]  # (B, L)
    per_token = per_token + (1 - positive) * minus.square().mean(dim=-1) / weight_minus[:, None]
    if token_weights is None:
        mean = per_token.mean(dim=1)
    else:
        weights = token_weights.to(per_token)
        mean = (weights * per_token).sum(dim=1) / weights.sum(dim=1)
    factor = options.advantage_clip / beta if options.clip_over_beta else 1.0
    return BranchLoss(mean * factor, per_token, weight_plus.detach(), weight_minus.detach())


def kl_loss(v_theta: Tensor, v_reference: Tensor, t: Tensor, space: Space) -> Tensor:
    """Mean squared difference (B,) of velocities (B, L, D), or of the clean estimates, which is t² times that."""
    wide = torch.promote_types(v_theta.dtype, torch.float32)
    mean = (v_theta.to(wide) - v_reference.to(wide)).square().flatten(1).mean(dim=1)
    return mean * t.square() if space == "x0" else mean


def combine(
    branches: tuple[BranchLoss, BranchLoss],
    valid: tuple[Tensor, Tensor],
    kl: tuple[Tensor, Tensor] | None,
    options: LossOptions,
) -> Tensor:
    """Loss of each rollout, (B,): the branches, each with its pull to the reference, as a weighted mean or sum.

    Args:
        branches: video, audio.
        valid: (B,) bool each; an invalid branch contributes nothing, which r = 1/2 would not do.
        kl: (B,) of each branch, or None. An invalid branch is pulled all the same: nothing about it is in doubt.
    """
    policy = [torch.where(ok, branch.loss, 0.0) for branch, ok in zip(branches, valid, strict=True)]
    total = weigh_branches(policy[0], policy[1], options)
    return total if kl is None else total + options.kl_coef * weigh_branches(*kl, options)


def weigh_branches(video: Tensor, audio: Tensor, options: LossOptions) -> Tensor:
    """Weighted mean, or weighted sum, of what two branches give, (B,) each."""
    total = options.video_weight * video + options.audio_weight * audio
    return total / (options.video_weight + options.audio_weight) if options.branches == "mean" else total


def _in_space(branch: Branch, space: Space) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction of the policy, of the old policy, and the target, as clean estimates or as velocities."""
    v_theta, v_old = branch.v_theta.to(branch.x_t.dtype), branch.v_old.to(branch.x_t.dtype)
    t = branch.t.to(branch.x_t.dtype)[:, None, None]
    if space == "x0":
        return branch.x_t - t * v_theta, branch.x_t - t * v_old, branch.x0
    return v_theta, v_old, (branch.x_t - branch.x0) / t


def _adaptive_weight(residual: Tensor, options: LossOptions) -> Tensor:
    """Mean absolute residual (B,) of (B, L, D), in double precision as in the sources, at least 1e-5."""
    kept = residual if options.adaptive_weight_grad else residual.detach()
    return kept.double().abs().flatten(1).mean(dim=1).clamp(min=_LEAST_WEIGHT).to(residual.dtype)
