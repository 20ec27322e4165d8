"""The update: gradients of the loss over all rollouts and noise levels of a step, and one step of the optimiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from omninft_train.errors import TrainingStopped
from omninft_train.method.advantages import BRANCHES
from omninft_train.method.losses import Branch, branch_loss, combine, kl_loss, weigh_branches
from omninft_train.method.schedule import first_levels, random_levels
from omninft_train.models.latents import Condition, Latents
from omninft_train.training import checkpoint
from omninft_train.training.diagnostics import depth_norms, number
from omninft_train.training.rollout import rollout_seed
from omninft_train.training.state import Judged, Rollouts, Training
from omninft_train.training.targets import mask
from omninft_train.training.weighting import add_gradients, gram_matrix, take_gradients

_FORWARDED = "forwarded"  # share of the step's pairs; not logged


def update(
    training: Training, rollouts: Rollouts, judged: Judged, step: int, alone: Sequence[Judged] = ()
) -> dict[str, Any]:
    """One optimiser step over all rollouts and their noise levels; what happened, for the log.

    Args:
        alone: targets of single rewards, for a step that weighs these by their gradients.
    """
    config, policy = training.config, training.policy
    log: dict[str, Any] = {}
    probing = config.run.probe_every and step % config.run.probe_every == 0
    if probing and training.surgery is not None:
        accumulate(training, rollouts, judged, step, operate=False)
        log["gradient_by_depth_without_surgery"] = depth_norms(policy)
    log |= weigh_and_accumulate(training, rollouts, judged, step, alone)
    if probing:
        log["gradient_by_depth"] = depth_norms(policy)
    norm = number(torch.nn.utils.clip_grad_norm_(list(policy.trainable().values()), config.optimizer.max_norm))
    if not math.isfinite(norm):
        raise _stopped(training, "gradient", {"video": rollouts.latents.video, "audio": rollouts.latents.audio}, step)
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)
    return log | {"gradient_norm": norm}


def weigh_and_accumulate(
    training: Training, rollouts: Rollouts, judged: Judged, step: int, alone: Sequence[Judged]
) -> dict[str, float]:
    """Gradients of the step: of its loss, or of single rewards' losses put together as the weighting says.

    Args:
        alone: targets of these rewards; each costs as many passes as the step's loss.
    """
    if not alone:
        return accumulate(training, rollouts, judged, step, operate=True)
    gradients, logs = [], []
    for one in alone:
        logs.append(accumulate(training, rollouts, one, step, operate=True))
        gradients.append(take_gradients(training.policy))
    factors = training.weighting.solve(step, gram_matrix(gradients))
    if factors is None:
        return accumulate(training, rollouts, judged, step, operate=True)
    log = accumulate(training, rollouts, mask(judged, BRANCHES), step, operate=True)  # the pull to the reference alone
    add_gradients(training.policy, gradients, factors)
    for key in ("loss", "loss_video", "loss_audio"):
        log[key] += sum(factor * one[key] for factor, one in zip(factors.tolist(), logs, strict=True))
    return log


def accumulate(training: Training, rollouts: Rollouts, judged: Judged, step: int, *, operate: bool) -> dict[str, float]:
    """Gradients of the mean loss over all rollouts and levels of the step, summed over processes.

    Args:
        operate: with gradient surgery, where the run has it.
    """
    config, world, policy = training.config, training.world, training.policy
    training.optimizer.zero_grad(set_to_none=True)
    chosen = chosen_levels(training, rollouts, step)
    pairs = [(row, level) for row, levels in enumerate(chosen) if rollouts.finite[row] for level in levels]
    count = sum(map(len, chosen)) * world.size
    most: int = max(1, *world.gather_objects(len(pairs)))  # type: ignore[call-overload]
    sums: dict[str, Tensor] = {}
    surgery = training.surgery if operate else None
    for start in range(0, most, config.optimizer.batch):
        batch = pairs[start : start + config.optimizer.batch]
        # Sharded networks need every process in every pass; one that has no rollout left takes part for nothing.
        counts = float(bool(batch))
        with surgery.enabled() if surgery is not None else nullcontext():
            losses, parts = batch_loss(training, rollouts, judged, step, batch or [(0, chosen[0][0])])
            if not torch.isfinite(losses).all():
                tensors = {"video": rollouts.latents.video, "audio": rollouts.latents.audio, "losses": losses}
                raise _stopped(training, "loss", tensors, step)
            policy.check_before_backward()
            torch.autograd.backward(counts * losses.sum() / count)
        for name, value in parts.items():
            mean = counts * value.detach().double().sum().cpu() / count
            sums[name] = sums[name] + mean if name in sums else mean
    world.sum(p.grad for p in policy.trainable().values() if p.grad is not None)
    totals = torch.stack(list(sums.values()))
    gathered = world.gather_rows(totals[None]).sum(dim=0)
    log = dict(zip(sums, gathered.tolist(), strict=True))
    forwarded = log.pop(_FORWARDED)
    # Adaptive weights are a mean over what was forwarded; a loss is one over all that was drawn.
    return {key: value / forwarded if key.startswith("weight_") and forwarded else value for key, value in log.items()}


def chosen_levels(training: Training, rollouts: Rollouts, step: int) -> list[list[int]]:
    """Indices of the noise levels that each of these rollouts is trained at."""
    config = training.config
    levels = training.levels[:-1]  # the last one, 0, is the clean clip itself
    if config.levels.choice == "first":
        return [first_levels(len(levels), config.levels.fraction)] * len(rollouts.index)
    generator = torch.Generator().manual_seed(rollout_seed(config.run.seed, step, -1, -1))
    drawn = random_levels(len(levels), config.levels.fraction, generator, config.prompts.rollouts)
    return [drawn[index] for index in rollouts.index]


def trained_tokens(training: Training, rollouts: Rollouts, step: int) -> int:
    """Tokens of both streams that a step trains on: of all rollouts, once for each of their noise levels."""
    geometry = training.backbone.geometry
    pairs = sum(map(len, chosen_levels(training, rollouts, step))) * training.world.size
    return pairs * (geometry.video_tokens + geometry.audio_frames)


def batch_loss(
    training: Training, rollouts: Rollouts, judged: Judged, step: int, batch: list[tuple[int, int]]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of pairs (row, level), (B,), and its parts for the log."""
    options, device = training.config.loss, training.world.device
    rows = [row for row, _ in batch]
    x0, (x_t, t) = rollouts.latents[rows], noised(training, rollouts, step, batch)
    now, old, kl = _velocities(training, x_t, t, rollouts.condition[rows], pulled=judged.kl)
    tokens, heard = (None if whole is None else whole[rows] for whole in (judged.token_weights, judged.audio_weights))
    r_video, r_audio = (r[rows].to(device) for r in (judged.video, judged.audio))
    video = branch_loss(Branch(now.video, old.video, x_t.video, x0.video, t), r_video, tokens, options)
    audio = branch_loss(Branch(now.audio, old.audio, x_t.audio, x0.audio, t), r_audio, heard, options)
    valid = (judged.video_valid[rows].to(device), judged.audio_valid[rows].to(device))
    losses = combine((video, audio), valid, kl, options)
    parts = {"loss": losses, _FORWARDED: torch.ones_like(losses)}
    for name, branch, ok in zip(BRANCHES, (video, audio), valid, strict=True):
        parts[f"loss_{name}"] = torch.where(ok, branch.loss, 0.0)
        parts |= {f"weight_plus_{name}": branch.weight_plus, f"weight_minus_{name}": branch.weight_minus}
    if kl is not None:
        parts |= {"kl": weigh_branches(*kl, options), "kl_video": kl[0], "kl_audio": kl[1]}
    return losses, parts


def noised(training: Training, rollouts: Rollouts, step: int, batch: list[tuple[int, int]]) -> tuple[Latents, Tensor]:
    """Rollouts at their noise levels, x_t of pairs (row, level), and these levels t, (B,)."""
    config, device = training.config, training.world.device
    t = training.levels[[level for _, level in batch]].to(device)
    seeds = [rollout_seed(config.run.seed, step, rollouts.index[row], 1_000_000 + level) for row, level in batch]
    x0, noise = rollouts.latents[[row for row, _ in batch]], training.backbone.geometry.noise(seeds, device)
    level = t[:, None, None]
    return Latents(*((1 - level) * a + level * b for a, b in ((x0.video, noise.video), (x0.audio, noise.audio)))), t


def _velocities(
    training: Training, x_t: Latents, t: Tensor, condition: Condition, *, pulled: bool
) -> tuple[Latents, Latents, tuple[Tensor, Tensor] | None]:
    """Velocities of policy and old policy, and the distance of the first to the reference, (B,) for each branch."""
    policy, options = training.policy, training.config.loss
    old = policy.velocity("old", x_t, t, condition)
    reference = policy.velocity("reference", x_t, t, condition) if options.kl_coef and pulled else None
    now = policy.velocity("policy", x_t, t, condition)
    if reference is None:
        return now, old, None
    video = kl_loss(now.video, reference.video, t, options.kl_space)
    return now, old, (video, kl_loss(now.audio, reference.audio, t, options.kl_space))


def _stopped(training: Training, what: str, tensors: dict[str, Tensor], step: int) -> TrainingStopped:
    """The error to raise where something is not finite; leaves the rollouts on disk."""
    dump = training.out / f"non-finite-step-{step}-rank-{training.world.rank}.safetensors"
    checkpoint.save_tensors(dump, tensors)
    return TrainingStopped(
        f"step {step}: the {what} is not finite. The rollouts are in {dump}; the last checkpoint is untouched. "
        "Lower optimizer.lr, then run the same command again."
    )
