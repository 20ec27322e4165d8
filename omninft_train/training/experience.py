"""Experience of a step: rollouts of the old policy and their rewards."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from omninft_train.method.arr import layer_keep
from omninft_train.models.latents import Condition, Latents
from omninft_train.models.responses import BothWays, Responses
from omninft_train.prompts import draw
from omninft_train.rewards.spec import Scored
from omninft_train.training.rollout import rollout_seed, sample
from omninft_train.training.state import Rollouts, Training


def sample_rollouts(training: Training, step: int) -> Rollouts:
    """This process's part of the step's rollouts, sampled with the old policy.

    With `training.overlap`, its threads judge what is sampled while the next batch is.
    """
    config, geometry, overlap = training.config, training.backbone.geometry, training.overlap
    size = config.prompts.group_size
    chosen = draw(training.prompts, config.run.seed, step, config.prompts)
    index = training.world.mine(config.prompts.rollouts)
    prompts = [chosen[i // size] for i in index]
    condition = training.backbone.condition([prompt.prompt_av for prompt in prompts])
    seeds = [rollout_seed(config.run.seed, step, i // size, i % size) for i in index]
    latents, finite, scores, responses = [], [], [], []
    if overlap is not None:
        overlap.drop()  # what a step that did not come to its rewards has left
    for start in range(0, len(index), config.sampling.batch):
        rows = slice(start, start + config.sampling.batch)
        noise = geometry.noise(seeds[rows], training.world.device)
        sampled, fine = _sample(training, noise, condition[rows])
        latents.append(sampled)
        finite.append(fine)
        if training.capture is not None:
            scores.append(training.capture.take())
        if training.responses is not None:
            responses.append(training.responses.take())
        if overlap is not None:
            overlap.add(training.backbone.decode(sampled), prompts[rows], _keys(step, index[rows]))
    bad = ~torch.cat(finite)
    region_scores = torch.cat(scores).masked_fill(bad[:, None], 1.0) if scores else None
    answers = Responses.cat(responses).without(bad) if responses else None
    return Rollouts(index, prompts, Latents.cat(latents), ~bad.cpu(), condition, region_scores, answers)


def _sample(training: Training, noise: Latents, condition: Condition) -> tuple[Latents, Tensor]:
    """Rollouts of the old policy, zeros where they are not finite, and which of them are finite, (B,) bool."""
    config = training.config
    sampled = sample(
        training.policy,
        "old",
        noise,
        training.levels,
        condition,
        negative=training.backbone.negative(),
        guidance=config.sampling.guidance,
        capture=training.capture or training.responses,
        window=config.capture_window,
    )
    bad = ~torch.stack([part.isfinite().flatten(1).all(dim=1) for part in (sampled.video, sampled.audio)]).all(dim=0)
    return sampled.map(lambda part: part.masked_fill(bad[:, None, None], 0.0)), ~bad


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
    scored = training.overlap.finish() if training.overlap is not None else _judge(training, rollouts, step)
    mine = _of_finite(scored, rollouts.finite)
    world = training.world
    reasons = [reason for part in world.gather_objects(mine.reasons) for reason in part]  # type: ignore[attr-defined]
    scored = Scored(world.gather_rows(mine.values), world.gather_rows(mine.valid), reasons)
    training.rewards.check(scored)
    return scored


def _judge(training: Training, rollouts: Rollouts, step: int) -> Scored:
    batch = training.config.sampling.batch
    clips = [
        clip
        for start in range(0, len(rollouts.index), batch)
        for clip in training.backbone.decode(rollouts.latents[slice(start, start + batch)])
    ]
    return training.rewards.score(clips, rollouts.prompts, _keys(step, rollouts.index))


def _keys(step: int, index: Sequence[int]) -> list[str]:
    return [f"{step}-{number}" for number in index]


def _of_finite(scored: Scored, finite: Tensor) -> Scored:
    """Without the rewards of rollouts that are not finite: what is decoded in their place may well look good."""
    reasons = ["the latents are not finite"] * int((~finite).sum())
    known = finite[:, None]
    return Scored(scored.values.masked_fill(~known, math.nan), scored.valid & known, scored.reasons + reasons)
