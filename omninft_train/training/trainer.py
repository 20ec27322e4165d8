"""The training loop: sample, score, advantages, update, old policy, log, save, evaluate. It reads from top to bottom.

What differs from the released OmniNFT script: a failed reward masks its rollout instead of scoring 0, nothing depends
on the number of processes or on how a batch is split, and every random number follows from (seed, step, rollout), so a
run that was killed goes on along the same trajectory.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from omninft_train.config import Config
from omninft_train.errors import TrainingStopped
from omninft_train.method.advantages import BRANCHES, Advantages, advantages, optimality
from omninft_train.method.arr import layer_keep, response_weights
from omninft_train.method.losses import Branch, BranchLoss, branch_loss, combine, kl_loss, weigh_branches
from omninft_train.method.regions import region_weights
from omninft_train.method.schedule import first_levels, old_keep, random_levels
from omninft_train.models.latents import Condition, Latents
from omninft_train.models.responses import BothWays, Responses
from omninft_train.prompts import draw
from omninft_train.rewards.local import Scored
from omninft_train.training import checkpoint
from omninft_train.training.diagnostics import (
    depth_norms,
    number,
    summarise_policy,
    summarise_rewards,
    summarise_update,
    timed,
)
from omninft_train.training.evaluating import due, evaluate_policy, start_evaluations
from omninft_train.training.locking import exclusive
from omninft_train.training.rollout import rollout_seed, sample
from omninft_train.training.saving import resume, save
from omninft_train.training.state import Judged, Rollouts, Training
from omninft_train.training.trackers import ShownClip, keep_clips, open_service
from omninft_train.training.tracking import Tracker
from omninft_train.training.weighting import (
    Probe,
    Weights,
    add_gradients,
    gram_matrix,
    take_gradients,
)

_LOG = logging.getLogger(__name__)
_SHOWN = 4  # clips of a step, where the run keeps any


def train(training: Training) -> None:
    """Train until `run.steps`, from the last checkpoint in the run's folder if there is one.

    Raises:
        TrainingStopped: a loss is not finite, or too many rewards failed.
        EnvironmentProblem: another training holds the folder.
    """
    with exclusive(training.out, training.world):
        _loop(training)


def _loop(training: Training) -> None:
    config, world = training.config, training.world
    first = resume(training)
    name = config.run.tracker if world.is_main else None
    shown = [name] if name and first < config.run.steps else []
    services = [open_service(one, training.out, asdict(config), first) for one in shown]
    tracker = Tracker(training.out, first, mirror=config.run.mirror, services=services, silent=not world.is_main)
    with closing(tracker):
        start_evaluations(training, tracker, first)
        for step in range(first, config.run.steps):
            _step(training, tracker, step)
            if (step + 1) % config.run.save_every == 0 or step + 1 == config.run.steps or due(config, step + 1):
                save(training, step + 1)
            if due(config, step + 1):
                evaluate_policy(training, tracker, step + 1)


def _step(training: Training, tracker: Tracker, step: int) -> None:
    config = training.config
    training.seconds.clear()
    with timed(training.seconds, "sample"):
        rollouts = sample_rollouts(training, step)
    with timed(training.seconds, "score"):
        scored = score_rollouts(training, rollouts, step)
    layers = follow_responses(training, rollouts)
    step_advantages, judged = judge(training, rollouts, scored, step)
    with timed(training.seconds, "update"):
        alone = [judge_alone(training, rollouts, scored, step, probe) for probe in training.weighting.probes(step)]
        log = update(training, rollouts, judged, step, alone)
    log["tokens_per_second"] = trained_tokens(training, rollouts, step) / training.seconds["seconds_update"]
    keep = old_keep(config.old.decay, step + 1)
    training.policy.update_old(keep)
    log |= summarise_rewards(scored, step_advantages, all_groups(config), config.rewards.reward)
    log |= summarise_update(step_advantages, config.loss.advantage_clip, training.world, judged.token_weights)
    log |= training.weighting.log(step) | layers
    log |= {"old_keep": keep, **summarise_policy(training.policy), **training.seconds}
    tracker.log(step, log)
    if config.run.clips_every and step % config.run.clips_every == 0 and training.world.is_main:
        tracker.show(step, show_clips(training, rollouts, scored, step))


def show_clips(training: Training, rollouts: Rollouts, scored: Scored, step: int) -> list[ShownClip]:
    """Keep the first rollouts of this process as clips, with their rewards; decoding them again is cheap."""
    index = rollouts.index[:_SHOWN]
    clips = training.backbone.decode(rollouts.latents[:_SHOWN])
    names = [spec.name for spec in training.config.rewards.reward]
    values = [[value if math.isfinite(value) else None for value in scored.values[i].tolist()] for i in index]
    rewards = [dict(zip(names, row, strict=True)) for row in values]
    prompts = [prompt.prompt_av for prompt in rollouts.prompts[:_SHOWN]]
    return keep_clips(training.out, step, dict(zip(index, clips, strict=True)), prompts, rewards)


def sample_rollouts(training: Training, step: int) -> Rollouts:
    """This process's part of the step's rollouts, sampled with the old policy."""
    config, geometry = training.config, training.backbone.geometry
    size = config.prompts.group_size
    chosen = draw(training.prompts, config.run.seed, step, config.prompts)
    index = training.world.mine(config.prompts.rollouts)
    prompts = [chosen[i // size] for i in index]
    condition = training.backbone.condition([prompt.prompt_av for prompt in prompts])
    seeds = [rollout_seed(config.run.seed, step, i // size, i % size) for i in index]
    latents, scores, responses = [], [], []
    for start in range(0, len(index), config.sampling.batch):
        rows = slice(start, start + config.sampling.batch)
        noise = geometry.noise(seeds[rows], training.world.device)
        latents.append(_sample(training, "old", noise, condition[rows]))
        if training.capture is not None:
            scores.append(training.capture.take())
        if training.responses is not None:
            responses.append(training.responses.take())
    groups = torch.tensor([i // size for i in index])
    whole = Latents.cat(latents)
    bad = ~torch.stack([part.isfinite().flatten(1).all(dim=1) for part in (whole.video, whole.audio)]).all(dim=0)
    whole = whole.map(lambda part: part.masked_fill(bad[:, None, None], 0.0))
    region_scores = torch.cat(scores).masked_fill(bad[:, None], 1.0) if scores else None
    answers = Responses.cat(responses).without(bad) if responses else None
    return Rollouts(index, prompts, groups, whole, ~bad.cpu(), condition, region_scores, answers)


def _sample(training: Training, role: Any, noise: Latents, condition: Condition) -> Latents:
    config = training.config
    return sample(
        training.policy,
        role,
        noise,
        training.levels,
        condition,
        negative=training.backbone.negative(),
        guidance=config.sampling.guidance,
        capture=training.capture or training.responses,
        window=config.capture_window,
    )


def follow_responses(training: Training, rollouts: Rollouts) -> dict[str, list[float]]:
    """Let each block pass back as much as its streams respond to each other in this step's rollouts; for the log."""
    if rollouts.responses is None or not isinstance(training.surgery, BothWays):
        return {}
    tau, responses = training.config.arr.tau, rollouts.responses
    a2v, v2a = (
        layer_keep(training.world.gather_rows(blocks), tau)
        for blocks in (responses.video_blocks, responses.audio_blocks)
    )
    training.surgery.keep(a2v, v2a)
    return {"keep_a2v": a2v, "keep_v2a": v2a}


def score_rollouts(training: Training, rollouts: Rollouts, step: int) -> Scored:
    """Rewards of all rollouts of the step, in order; each process judges its own."""
    clips = [
        clip
        for start in range(0, len(rollouts.index), training.config.sampling.batch)
        for clip in training.backbone.decode(rollouts.latents[slice(start, start + training.config.sampling.batch)])
    ]
    keys = [f"{step}-{index}" for index in rollouts.index]
    mine = _of_finite(training.rewards.score(clips, rollouts.prompts, keys), rollouts.finite)
    world = training.world
    reasons = [reason for part in world.gather_objects(mine.reasons) for reason in part]  # type: ignore[attr-defined]
    scored = Scored(world.gather_rows(mine.values), world.gather_rows(mine.valid), reasons)
    training.rewards.check(scored)
    return scored


def _of_finite(scored: Scored, finite: Tensor) -> Scored:
    """Without the rewards of rollouts that are not finite: what is decoded in their place may well look good."""
    reasons = ["the latents are not finite"] * int((~finite).sum())
    known = finite[:, None]
    return Scored(scored.values.masked_fill(~known, math.nan), scored.valid & known, scored.reasons + reasons)


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
    video, audio = (
        advantages(scored.values, scored.valid, all_groups(config), weights[name], routes, config.advantages)
        for name in BRANCHES
    )
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
    gradients, losses = [], []
    for one in alone:
        losses.append(accumulate(training, rollouts, one, step, operate=True)["loss"])
        gradients.append(take_gradients(training.policy))
    factors = training.weighting.solve(step, gram_matrix(gradients))
    if factors is None:
        return accumulate(training, rollouts, judged, step, operate=True)
    log = accumulate(training, rollouts, mask(judged, BRANCHES), step, operate=True)  # the pull to the reference alone
    add_gradients(training.policy, gradients, factors)
    weighted = sum(factor * loss for factor, loss in zip(factors.tolist(), losses, strict=True))
    return log | {"loss": log["loss"] + weighted}


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
    return dict(zip(sums, gathered.tolist(), strict=True))


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
    pull = None if kl is None else weigh_branches(*kl, options)
    return losses, _parts(losses, video, audio, pull)


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


def _parts(losses: Tensor, video: BranchLoss, audio: BranchLoss, kl: Tensor | None) -> dict[str, Tensor]:
    parts = {"loss": losses, "loss_video": video.loss, "loss_audio": audio.loss}
    for name, branch in (("video", video), ("audio", audio)):
        parts |= {f"weight_plus_{name}": branch.weight_plus, f"weight_minus_{name}": branch.weight_minus}
    return parts if kl is None else parts | {"kl": kl}


def _stopped(training: Training, what: str, tensors: dict[str, Tensor], step: int) -> TrainingStopped:
    """The error to raise where something is not finite; leaves the rollouts on disk."""
    dump = training.out / f"non-finite-step-{step}-rank-{training.world.rank}.safetensors"
    checkpoint.save_tensors(dump, tensors)
    return TrainingStopped(
        f"step {step}: the {what} is not finite. The rollouts are in {dump}; the last checkpoint is untouched. "
        "Lower optimizer.lr, then run the same command again."
    )
