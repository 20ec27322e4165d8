"""What a step tells about itself: rewards, advantages, gradient norms by depth, distance of policies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from omninft_train.advantages import Advantages, conflict
from omninft_train.policy import Policy
from omninft_train.rewards import RewardSpec, Scored

_BLOCK = re.compile(r"transformer_blocks\.(\d+)\.(.*)")


def summarise_rewards(scored: Scored, found: Advantages, groups: Tensor, specs: Sequence[RewardSpec]) -> dict[str, Any]:
    """Mean, spread and validity of each reward; how far the branches want different things."""
    log: dict[str, Any] = {}
    for place, spec in enumerate(specs):
        valid = scored.valid[:, place]
        values = scored.values[valid, place]
        name = f"reward_{spec.name}"
        log[f"{name}_invalid"] = int((~valid).sum())
        if len(values):
            log[f"{name}_mean"] = float(values.mean())
            log[f"{name}_std"] = float(values.std(unbiased=False))
            log[f"{name}_flat_groups"] = _share_of_flat_groups(scored.values[:, place], valid, groups)
    weights = torch.tensor([spec.weight for spec in specs], dtype=torch.float64)
    clash = conflict(found.per_reward, weights, [spec.route for spec in specs], scored.valid.all(dim=1))
    log |= {"conflict_share": clash.share, "conflict_correlation": clash.correlation}
    for branch, values, valid in (
        ("video", found.video, found.video_valid),
        ("audio", found.audio, found.audio_valid),
    ):
        log[f"advantage_{branch}_std"] = float(values[valid].std(unbiased=False)) if valid.any() else 0.0
        log[f"masked_{branch}"] = int((~valid).sum())
    return log


def _share_of_flat_groups(values: Tensor, valid: Tensor, groups: Tensor) -> float:
    flat = [bool((values[(groups == g) & valid].diff() == 0).all()) for g in groups.unique()]
    return sum(flat) / len(flat)


def depth_norms(policy: Policy) -> dict[str, list[float]]:
    """Gradient norm of each block's parameters, those of the audio stream and those of the video stream."""
    squares: dict[str, dict[int, float]] = {"audio": {}, "video": {}}
    for name, parameter in policy.trainable().items():
        match = _BLOCK.search(name)
        if match is None or parameter.grad is None:
            continue
        block, rest = int(match[1]), match[2]
        stream = "audio" if rest.startswith(("audio_attn", "audio_ff")) else "video"
        if rest.startswith(("audio_to_video_attn", "video_to_audio_attn", "audio_prompt", "audio_a2v")):
            continue
        square = float(parameter.grad.detach().double().square().sum())
        squares[stream][block] = squares[stream].get(block, 0.0) + square
    return {stream: [found[b] ** 0.5 for b in sorted(found)] for stream, found in squares.items()}


def distance(policy: Policy) -> float:
    """Euclidean distance of the policy's parameters from the old policy's."""
    old = policy.old()
    total = sum(float((p.detach() - old[name]).double().square().sum()) for name, p in policy.trainable().items())
    return float(total**0.5)
