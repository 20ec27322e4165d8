"""Training targets: from the rewards of a step to the optimality of each rollout and the weights of its tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from omninft_train.config import Config
from omninft_train.method.advantages import BRANCHES, Advantages, Masked, advantages, optimality
from omninft_train.method.arr import response_weights
from omninft_train.method.regions import region_weights
from omninft_train.rewards.spec import Scored
from omninft_train.training.state import Judged, Rollouts, Training
from omninft_train.training.weighting import Probe, Weights


def all_groups(config: Config) -> Tensor:
    """Number of the group of every rollout of a step, (N,)."""
    return torch.arange(config.prompts.rollouts) // config.prompts.group_size


def judge(
    training: Training, rollouts: Rollouts, scored: Scored, step: int, weights: Weights | None = None
) -> tuple[Advantages, Judged]:
    """Advantages over all rollouts of the step, and what they mean for those of this process.

    Args:
        weights: of the rewards, for each branch; None for those of the step.
    """
    config = training.config
    routes = [spec.route for spec in config.rewards.reward]
    weights = training.weighting.weights(step) if weights is None else weights
    rewards, groups = Masked(scored.values, scored.valid), all_groups(config)
    video, audio = (advantages(rewards, groups, weights[name], routes, config.advantages) for name in BRANCHES)
    step_advantages = replace(video, audio=audio.audio, audio_valid=audio.audio_valid)
    mine, clip = torch.tensor(rollouts.index), config.loss.advantage_clip
    tokens, heard, frames = None, None, training.backbone.geometry.frames
    if rollouts.responses is not None:
        tokens = response_weights(rollouts.responses.video, frames, config.arr.maximum)
        heard = response_weights(rollouts.responses.audio, 1, config.arr.maximum)
    if rollouts.region_scores is not None:
        tokens = region_weights(rollouts.region_scores, frames, config.regions.weights, step)
    return step_advantages, Judged(
        optimality(step_advantages.video[mine], clip).float(),
        optimality(step_advantages.audio[mine], clip).float(),
        step_advantages.video_valid[mine],
        step_advantages.audio_valid[mine],
        tokens,
        heard,
    )


def judge_alone(training: Training, rollouts: Rollouts, scored: Scored, step: int, probe: Probe) -> Judged:
    """Targets of one reward, as if there were no other, without the pull to the reference."""
    _, judged = judge(training, rollouts, scored, step, dict.fromkeys(BRANCHES, probe.weights))
    if not probe.token_weights:
        judged = replace(judged, token_weights=None, audio_weights=None)
    others = [branch for branch in BRANCHES if branch not in probe.branches]
    return replace(mask(judged, others), kl=False)


def mask(judged: Judged, branches: Iterable[str]) -> Judged:
    """The same targets, with no rollout counting in some branches."""
    nothing: dict[str, Any] = {f"{name}_valid": torch.zeros_like(judged.video_valid) for name in branches}
    return replace(judged, **nothing)
