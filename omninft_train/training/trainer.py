"""The training loop: sample, score, advantages, update, old policy, log, save, evaluate. It reads from top to bottom.

What differs from the released OmniNFT script: a failed reward masks its rollout instead of scoring 0, nothing depends
on the number of processes or on how a batch is split, and every random number follows from (seed, step, rollout), so a
run that was killed goes on along the same trajectory.
"""

from __future__ import annotations

import math
from contextlib import closing, nullcontext
from dataclasses import asdict
from typing import Any

from torch import Tensor

from omninft_train.method.schedule import old_keep
from omninft_train.models.latents import Latents
from omninft_train.rewards.spec import Scored
from omninft_train.training.diagnostics import summarise_policy, summarise_rewards, summarise_update, timed
from omninft_train.training.evaluating import due, evaluate_policy, pending, start_evaluations
from omninft_train.training.experience import follow_responses, sample_rollouts, score_rollouts
from omninft_train.training.locking import exclusive
from omninft_train.training.saving import resume, save
from omninft_train.training.state import Rollouts, Training
from omninft_train.training.targets import all_groups, judge, judge_alone
from omninft_train.training.trackers import ShownClip, keep_clips, open_service
from omninft_train.training.tracking import Tracker
from omninft_train.training.update import trained_tokens, update

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
    shown = [name] if name and (first < config.run.steps or pending(training, first)) else []
    services = [open_service(one, training.out, asdict(config), first) for one in shown]
    tracker = Tracker(training.out, first, mirror=config.run.mirror, services=services, silent=not world.is_main)
    with closing(tracker), nullcontext() if training.overlap is None else closing(training.overlap):
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
    keep = old_keep(step + 1)
    training.policy.update_old(keep)
    log |= summarise_rewards(scored, step_advantages, all_groups(config), config.rewards.reward)
    log |= summarise_update(step_advantages, config.loss.advantage_clip, training.world, judged.token_weights)
    log |= training.weighting.log(step) | layers
    log |= {"old_keep": keep, **summarise_policy(training.policy), **training.seconds}
    tracker.log(step, log)
    if config.run.clips_every and step % config.run.clips_every == 0:
        tracker.show(step, show_clips(training, rollouts, scored, step))


def show_clips(training: Training, rollouts: Rollouts, scored: Scored, step: int) -> list[ShownClip]:
    """Keep the first rollouts of the step as clips, with their rewards; nothing in all processes but the first.

    The first process decodes those of all: latents travel, which are a fiftieth of a clip.
    """
    world = training.world
    mine = [
        (number, rollouts.prompts[row].prompt_av, rollouts.latents[[row]].map(Tensor.cpu))
        for row, number in enumerate(rollouts.index)
        if number < _SHOWN
    ]
    parts: Any = world.gather_objects(mine)
    if not world.is_main:
        return []
    taken = sorted((one for part in parts for one in part), key=lambda one: one[0])
    index, prompts, latents = zip(*taken, strict=True)
    clips = training.backbone.decode(Latents.cat(latents).map(lambda part: part.to(world.device)))
    names = [spec.name for spec in training.config.rewards.reward]
    values = [[value if math.isfinite(value) else None for value in scored.values[i].tolist()] for i in index]
    rewards = [dict(zip(names, row, strict=True)) for row in values]
    return keep_clips(training.out, step, dict(zip(index, clips, strict=True)), prompts, rewards)
