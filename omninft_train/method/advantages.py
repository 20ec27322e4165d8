"""From rewards to advantages: normalised per group, summed for each branch. Functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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
        video_valid, audio_valid: (B,) bool, False where a reward of that branch failed.
        per_reward: (B, R) normalised rewards, unweighted; 0 where invalid.
    """

    video: Tensor
    audio: Tensor
    video_valid: Tensor
    audio_valid: Tensor
    per_reward: Tensor


@dataclass(frozen=True)
class Conflict:
    """How far the branches want different things.

    Attributes:
        fraction: of rollouts whose advantages from video-only and audio-only rewards have opposite signs, in [0, 1].
        correlation: of those two advantages, in [-1, 1]; 0 where one of them is constant.
    """

    fraction: float
    correlation: float


def advantages(
    rewards: Tensor,
    valid: Tensor,
    groups: Tensor,
    weights: Tensor,
    routes: Sequence[Route],
    options: AdvantageOptions,
) -> Advantages:
    """Advantages of all rollouts of a step.

    Args:
        rewards: (B, R); invalid entries are never read.
        valid: (B, R) bool.
        groups: (B,) integer, the group of each rollout.
        weights: (R,) of the rewards; one of weight 0 counts for nothing, not even by failing.
        routes: of each reward.
        options: see `AdvantageOptions`.

    Source: OmniNFT, modality-wise advantage routing, and its release.
    """
    used = weights != 0
    per_reward = _normalise_columns(rewards, valid, groups, options)
    terms, term_routes = per_reward * weights, routes
    if options.per == "modality":
        term_routes, totals, whole = _by_modality(rewards, valid, weights, routes)
        terms = _normalise_columns(totals, whole, groups, options)
    routed = options.mode == "routed"
    masks = {name: used & _goes_to(routes, name if routed else None, used.device) for name in BRANCHES}
    ok = {name: (valid | ~mask).all(dim=1) for name, mask in masks.items()}
    if options.mode == "scalar":
        total = torch.where(valid & used, rewards * weights, 0).sum(dim=1)
        sums = dict.fromkeys(BRANCHES, _normalise(total, ok["video"], groups, options))
    else:
        sums = {
            name: (terms * _goes_to(term_routes, name if routed else None, used.device)).sum(dim=1) for name in BRANCHES
        }
    values = {name: torch.where(ok[name], sums[name], 0) for name in BRANCHES}
    return Advantages(values["video"], values["audio"], ok["video"], ok["audio"], per_reward)


def optimality(advantage: Tensor, clip: float = 5.0) -> Tensor:
    """r = clip(A / (2 clip) + 1/2, 0, 1) of advantages (B,). Source: DiffusionNFT."""
    return (advantage.clamp(-clip, clip) / (2 * clip) + 0.5).clamp(0, 1)


def conflict(per_reward: Tensor, weights: Tensor, routes: Sequence[Route], valid: Tensor) -> Conflict:
    """Compare the weighted advantages (B,) of video-only and of audio-only rewards, over valid rollouts (B,)."""
    video, audio = (part[valid] for part in modality_advantages(per_reward, weights, routes))
    if not len(video):
        return Conflict(0.0, 0.0)
    opposite = float((video * audio < 0).double().mean())
    a, b = video - video.mean(), audio - audio.mean()
    scale = float(a.norm() * b.norm())
    return Conflict(opposite, float(a @ b) / scale if scale > 0 else 0.0)


def modality_advantages(per_reward: Tensor, weights: Tensor, routes: Sequence[Route]) -> tuple[Tensor, Tensor]:
    """Weighted sums (B,) of the video-only rewards, and of the audio-only ones; rewards of weight 0 take no part."""
    sums = []
    for name in BRANCHES:
        chosen = torch.tensor([route == name for route in routes], device=weights.device) & (weights != 0)
        sums.append((per_reward * weights)[:, chosen].sum(dim=1))
    return sums[0], sums[1]


def _goes_to(routes: Sequence[Route], branch: str | None, device: torch.device) -> Tensor:
    return torch.tensor([branch is None or route in (branch, "both") for route in routes], device=device)


def _by_modality(
    rewards: Tensor, valid: Tensor, weights: Tensor, routes: Sequence[Route]
) -> tuple[tuple[Route, ...], Tensor, Tensor]:
    """Routes that have rewards, the weighted sum of the rewards of each, (B, K), and where none of them failed."""
    present = tuple(dict.fromkeys(routes))
    sums, whole = [], []
    for route in present:
        chosen = torch.tensor([own == route for own in routes], device=weights.device) & (weights != 0)
        sums.append(torch.where(valid, rewards * weights, 0)[:, chosen].sum(dim=1))
        whole.append(valid[:, chosen].all(dim=1))
    return present, torch.stack(sums, dim=1), torch.stack(whole, dim=1)


def _normalise_columns(values: Tensor, valid: Tensor, groups: Tensor, options: AdvantageOptions) -> Tensor:
    """Each column of (B, K) by itself."""
    columns = [_normalise(values[:, k], valid[:, k], groups, options) for k in range(values.shape[1])]
    return torch.stack(columns, dim=1)


def _normalise(values: Tensor, valid: Tensor, groups: Tensor, options: AdvantageOptions) -> Tensor:
    """(R - mean of the group) / (s + eps) where valid, else 0."""
    normalised = torch.zeros_like(values)
    whole = _std(values[valid])
    for group in torch.unique(groups):
        members = (groups == group) & valid
        chosen = values[members]
        if not len(chosen):
            continue
        std = _std(chosen) if options.std == "group" else whole
        normalised[members] = (chosen - chosen.mean()) / (std + options.eps)
    return normalised


def _std(values: Tensor) -> Tensor:
    """Standard deviation; 0 of nothing."""
    return values.std(correction=0) if len(values) else values.new_zeros(())
