"""Per-step training diagnostics: rewards, advantages, gradient norms by depth, policy distances, time, memory."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from omninft_train.method.advantages import BRANCHES, Advantages, conflict, optimality
from omninft_train.models.policy import FullPolicy, Policy
from omninft_train.rewards.spec import RewardSpec, Scored
from omninft_train.training.distributed import World
from omninft_train.training.tracking import reward_key

_BLOCK = re.compile(r"transformer_blocks\.(\d+)\.(.*)")
_CROSSING = ("audio_to_video_attn", "video_to_audio_attn", "audio_a2v", "video_a2v", "scale_shift_table_a2v")


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Adds to "seconds_<name>" how long the body takes."""
    start = time.perf_counter()
    yield
    key = f"seconds_{name}"
    seconds[key] = seconds.get(key, 0.0) + time.perf_counter() - start


def summarise_rewards(
    scored: Scored, advantages: Advantages, groups: Tensor, specs: Sequence[RewardSpec]
) -> dict[str, Any]:
    """Mean, standard deviation and validity of each reward, and how far video and audio advantages conflict."""
    log: dict[str, Any] = {}
    for index, spec in enumerate(specs):
        valid = scored.valid[:, index]
        values = scored.values[valid, index]
        log[reward_key(spec.name, "invalid")] = int((~valid).sum())
        if len(values):
            log[reward_key(spec.name, "mean")] = float(values.mean())
            log[reward_key(spec.name, "std")] = float(values.std(unbiased=False))
            log[reward_key(spec.name, "flat_groups")] = _flat_fraction(scored.values[:, index], valid, groups)
    weights = torch.tensor([spec.weight for spec in specs], dtype=torch.float64)
    clash = conflict(advantages.per_reward, weights, [spec.route for spec in specs], scored.valid)
    return log | {"conflict_share": clash.fraction, "conflict_correlation": clash.correlation}


def _flat_fraction(values: Tensor, valid: Tensor, groups: Tensor) -> float:
    numbers = torch.unique(groups)
    flat = [bool((values[(groups == number) & valid].diff() == 0).all()) for number in numbers]
    return sum(flat) / len(flat)


def summarise_update(advantages: Advantages, clip: float, world: World, token_weights: Tensor | None) -> dict[str, Any]:
    """Statistics of the advantages and region weights that the update used, over all processes.

    Args:
        clip: A_max.
        token_weights: (B, Lv) of this process's rollouts, or None.
    """
    log: dict[str, Any] = {}
    for branch in BRANCHES:
        values, valid = getattr(advantages, branch), getattr(advantages, f"{branch}_valid")
        kept = values[valid]
        log[f"masked_{branch}"] = int((~valid).sum())
        if len(kept):
            r = optimality(kept, clip)
            log[f"advantage_{branch}_std"] = float(kept.std(unbiased=False))
            log[f"clipped_{branch}"] = float((kept.abs() >= clip).double().mean())
            log |= {f"r_{branch}_mean": float(r.mean()), f"r_{branch}_std": float(r.std(unbiased=False))}
    if token_weights is not None:
        weights = world.gather_rows(token_weights)
        fractions = weights / weights.sum(dim=1, keepdim=True)
        entropy = -(fractions * fractions.log()).sum(dim=1).mean() / math.log(weights.shape[1])
        log |= {"region_weight_mean": float(weights.mean()), "region_weight_max": float(weights.max())}
        log["region_weight_entropy"] = float(entropy)  # 1 for equal weights
    if torch.cuda.is_available():
        log["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return log


def depth_norms(policy: Policy) -> dict[str, list[float]]:
    """Gradient norm of each block's own parameters of the audio stream and of the video stream."""
    squares: dict[str, dict[int, float]] = {"audio": {}, "video": {}}
    for name, parameter in policy.trainable().items():
        match = _BLOCK.search(name)
        if match is None or parameter.grad is None or match[2].startswith(_CROSSING):
            continue
        stream = "audio" if match[2].startswith("audio_") else "video"
        block = int(match[1])
        square = number(parameter.grad.detach().double().square().sum())
        squares[stream][block] = squares[stream].get(block, 0.0) + square
    return {stream: [by_block[block] ** 0.5 for block in sorted(by_block)] for stream, by_block in squares.items()}


def summarise_policy(policy: Policy) -> dict[str, float]:
    """Euclidean distances of the policy's parameters from the old policy's and, where it has its own, the reference's.

    With adapters the reference is the network without them, and there is no such distance.
    """
    now = policy.trainable()
    log = {"distance_old": _distance(now, policy.old())}
    if isinstance(policy, FullPolicy):
        log["distance_reference"] = _distance(now, dict(policy.transformer("reference").named_parameters()))
    return log


def _distance(now: Mapping[str, Tensor], then: Mapping[str, Tensor]) -> float:
    return float(sum(number((now[name].detach() - old).double().square().sum()) for name, old in then.items()) ** 0.5)


def number(value: Tensor) -> float:
    """A scalar, of sharded tensors too; then all processes have to call this."""
    whole: Any = value.full_tensor() if hasattr(value, "full_tensor") else value
    return float(whole)
