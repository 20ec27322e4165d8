"""From rewards to advantages: normalised per group, summed for each branch. Functions of tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Route = Literal["video", "audio", "both"]
BRANCHES: tuple[Literal["video", "audio"], ...] = ("video", "audio")


@dataclass(frozen=True)
class AdvantageOptions:
    """How rewards become advantages.

    Attributes:
        mode: "scalar" normalises the weighted sum of rewards; "gdpo" normalises each reward and sums; "routed" sums for
            each branch the rewards routed to it.
        std: the standard deviation, with division by n, is taken over the whole step or over the group.
        eps: added to the standard deviation.
        per: what is normalised by itself: each "reward", or for each "modality" (rewards of one route) their weighted
            sum. "scalar" has one sum for all.
    """

    mode: Literal["scalar", "gdpo", "routed"] = "gdpo"
    std: Literal["batch", "group"] = "batch"
    eps: float = 1e-4
    per: Literal["reward", "modality"] = "reward"


@dataclass(frozen=True)
class Advantages:
    """Advantages of B rollouts.

    Attributes:
        video, audio: (B,) of each branch; 0 where invalid.
        video_valid, audio_valid: (B,) bool, False where a reward of that branch failed, and where it has none.
        per_reward: (B, R) normalised rewards, unweighted; 0 where invalid.
    """

    video: Tensor
    audio: Tensor
    video_valid: Tensor
    audio_valid: Tensor
    per_reward: Tensor


class Masked(NamedTuple):
    """Rewards, normalised terms or advantages of B rollouts, and which of them are valid.

    Attributes:
        values: (B,) or (B, K). Rewards that are not valid are never read; terms and advantages are 0 there.
        valid: bool, of that shape.
    """

    values: Tensor
    valid: Tensor


@dataclass(frozen=True)
class Conflict:
    """How far the branches want different things.

    Attributes:
        fraction: of rollouts whose advantages from video-only and audio-only rewards have opposite signs, in [0, 1];
            NaN where no rollout has both.
        correlation: of those two advantages, in [-1, 1]; NaN where one of them is constant.
    """

    fraction: float
    correlation: float


def advantages(
    rewards: Masked, groups: Tensor, weights: Tensor, routes: Sequence[Route], options: AdvantageOptions
) -> Advantages:
    """Advantages of all rollouts of a step, by the functions below that the options name.

    Args:
        rewards: (B, R).
        groups: (B,) integer, the group of each rollout.
        weights: (R,) of the rewards; one of weight 0 counts for nothing, not even by failing.

    Source: OmniNFT, modality-wise advantage routing, and its release.
    """
    per_reward = normalised(rewards, groups, options)
    terms, terms_routes = Masked(per_reward * weights, rewards.valid | (weights == 0)), tuple(routes)
    if options.per == "modality":
        terms, terms_routes = modality_terms(rewards, groups, weights, routes, options), tuple(dict.fromkeys(routes))
    if options.mode == "scalar":
        video = audio = scalar_advantage(rewards, groups, weights, options)
    elif options.mode == "gdpo":
        video = audio = gdpo_advantage(terms)
    else:
        video, audio = (routed_advantage(terms, terms_routes, branch) for branch in BRANCHES)
    # A branch without a reward is left out: advantages of 0 would pull it to the old policy.
    used = [route for route, weight in zip(routes, weights.tolist(), strict=True) if weight]
    rewarded = [any(options.mode != "routed" or route in (branch, "both") for route in used) for branch in BRANCHES]
    return Advantages(video.values, audio.values, video.valid & rewarded[0], audio.valid & rewarded[1], per_reward)


def scalar_advantage(rewards: Masked, groups: Tensor, weights: Tensor, options: AdvantageOptions) -> Masked:
    """The weighted sum of rewards (B, R), normalised once, (B,)."""
    used = weights != 0
    total = torch.where(rewards.valid & used, rewards.values * weights, 0).sum(dim=1)
    whole = (rewards.valid | ~used).all(dim=1)
    return Masked(normalised(Masked(total[:, None], whole[:, None]), groups, options)[:, 0], whole)


def gdpo_advantage(terms: Masked) -> Masked:
    """The sum of terms (B, K) that were normalised one by one, (B,)."""
    whole = terms.valid.all(dim=1)
    return Masked(torch.where(whole, terms.values.sum(dim=1), 0), whole)


def routed_advantage(terms: Masked, routes: Sequence[Route], branch: Literal["video", "audio"]) -> Masked:
    """The sum of those terms (B, K) that go to a branch, (B,); the others count for nothing, not even by failing."""
    counted = torch.tensor([route in (branch, "both") for route in routes], device=terms.valid.device)
    return gdpo_advantage(Masked(terms.values * counted, terms.valid | ~counted))


def modality_terms(
    rewards: Masked, groups: Tensor, weights: Tensor, routes: Sequence[Route], options: AdvantageOptions
) -> Masked:
    """The normalised weighted sum of the rewards of each route, (B, K), in the order in which routes first appear."""
    terms = []
    for route in dict.fromkeys(routes):
        members = [number for number, other in enumerate(routes) if other == route]
        own = Masked(rewards.values[:, members], rewards.valid[:, members])
        terms.append(scalar_advantage(own, groups, weights[members], options))
    values, valid = (torch.stack(part, dim=1) for part in zip(*terms, strict=True))
    return Masked(values, valid)


def normalised(rewards: Masked, groups: Tensor, options: AdvantageOptions) -> Tensor:
    """(R - mean of the group) / (s + eps) where valid, else 0; each column of (B, K) by itself."""
    result = torch.zeros_like(rewards.values)
    for k, (values, valid) in enumerate(zip(rewards.values.T, rewards.valid.T, strict=True)):
        for group in torch.unique(groups):
            members = (groups == group) & valid
            chosen = values[members]
            if len(chosen):
                std = (chosen if options.std == "group" else values[valid]).std(correction=0)
                result[members, k] = (chosen - chosen.mean()) / (std + options.eps)
    return result


def optimality(advantage: Tensor, clip: float = 5.0) -> Tensor:
    """r = clip(A / (2 clip) + 1/2, 0, 1) of advantages (B,). Source: DiffusionNFT."""
    return (advantage.clamp(-clip, clip) / (2 * clip) + 0.5).clamp(0, 1)


def conflict(per_reward: Tensor, weights: Tensor, routes: Sequence[Route], valid: Tensor) -> Conflict:
    """Compare the weighted advantages (B,) of video-only and of audio-only rewards.

    Args:
        per_reward: (B, R) normalised rewards, unweighted.
        valid: (B, R). Rollouts count that have every reward that is compared, whatever else failed.
    """
    compared = torch.tensor([route in BRANCHES for route in routes], device=weights.device) & (weights != 0)
    if not {"video", "audio"} <= {route for route, used in zip(routes, compared.tolist(), strict=True) if used}:
        return Conflict(math.nan, math.nan)
    counted = (valid | ~compared).all(dim=1)
    video, audio = (part[counted] for part in modality_advantages(per_reward, weights, routes))
    opposite = float((video * audio < 0).double().mean())  # NaN of no rollout
    a, b = video - video.mean(), audio - audio.mean()
    scale = float(a.norm() * b.norm())
    return Conflict(opposite, float(a @ b) / scale if scale > 0 else math.nan)


def modality_advantages(per_reward: Tensor, weights: Tensor, routes: Sequence[Route]) -> tuple[Tensor, Tensor]:
    """Weighted sums (B,) of the video-only rewards, and of the audio-only ones; rewards of weight 0 take no part."""
    sums = []
    for name in BRANCHES:
        chosen = torch.tensor([route == name for route in routes], device=weights.device) & (weights != 0)
        sums.append((per_reward * weights)[:, chosen].sum(dim=1))
    return sums[0], sums[1]
