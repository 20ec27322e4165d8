"""Evaluation while training: the policy's clips of fixed prompts from fixed noise, judged, kept and compared.

Nothing of the trajectory depends on it: no gradient, no state, and random numbers of its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omninft_train.config import Config
from omninft_train.evaluate import evaluate
from omninft_train.evaluation import (
    FILE,
    Evaluation,
    evaluation_folder,
    mean_of,
    read_evaluations,
    write_evaluation,
    write_json,
)
from omninft_train.generate import Generation, Trained, jobs_of, write_manifest
from omninft_train.judging import clear, judged_settings
from omninft_train.reward_hacking import Fall, falls
from omninft_train.rewards.held_out import held_out_specs
from omninft_train.training import checkpoint
from omninft_train.training.best import eval_key
from omninft_train.training.state import Training
from omninft_train.training.tracking import Tracker

_LOG = logging.getLogger(__name__)
_SETTINGS = "sampling.json"
_NOTHING_HELD_OUT = (
    "run.eval_every: nothing is held out, so evaluations show what is rewarded alone, and no warning of a policy that "
    "games its rewards can come. Name metrics that are no rewards: evaluation.heldout."
)


def due(config: Config, step: int) -> bool:
    """Whether the policy after `step` optimiser steps is evaluated: at the start, at the end, and in between."""
    every = config.run.eval_every
    return every > 0 and (step % every == 0 or step == config.run.steps)


def pending(training: Training, step: int) -> bool:
    """Whether the policy after `step` optimiser steps is still to be evaluated."""
    return due(training.config, step) and not (evaluation_folder(training.out, step) / FILE).is_file()


def planned(config: Config) -> int:
    """How many evaluations a whole run makes."""
    return sum(due(config, step) for step in range(config.run.steps + 1))


def how_evaluated(config: Config) -> Generation:
    """How clips of evaluations are sampled."""
    section, sampling = config.evaluation, config.sampling
    steps = section.steps or 2 * sampling.steps
    return Generation("policy", section.samples, steps, sampling.guidance, section.seed, sampling.batch)


def start_evaluations(training: Training, tracker: Tracker, first: int) -> None:
    """Evaluate the policy that a run starts or goes on with, where it is due or nothing was evaluated before.

    Evaluations of later steps, of checkpoints that are gone, make way, as lines of the log do.
    """
    config = training.config
    if not config.run.eval_every:
        return
    rewards = config.rewards.reward
    judged = (*rewards, *held_out_specs(rewards, config.evaluation.heldout, config.backbone.kind))
    if training.world.is_main and all(spec.weight for spec in judged):
        _LOG.warning("%s", _NOTHING_HELD_OUT)
    there = read_evaluations(training.out) if training.world.is_main else {}
    for step in [step for step in there if step > first]:
        shutil.rmtree(evaluation_folder(training.out, step))
    base_line: Any = training.world.gather_objects(min(there, default=first) >= first)[0]
    if base_line or due(config, first):
        evaluate_policy(training, tracker, first)


def evaluate_policy(training: Training, tracker: Tracker, step: int) -> None:
    """Evaluate the policy as it is after `step` optimiser steps, unless that is done.

    Clips, a manifest and `evaluation.json`, which comes last, go to `evaluations/step-N` of the run's folder.

    Raises:
        EnvironmentProblem: a metric cannot run at all, or the folder cannot be written.
    """
    config, world = training.config, training.world
    # The first process decides: others may see an older state of the folder.
    digest: Any = world.gather_objects(_digest(training, step) if world.is_main else None)[0]
    trained = Trained(config, training.backbone, training.policy, step, digest)
    prompts, how, folder = training.evaluated, how_evaluated(config), evaluation_folder(training.out, step)
    judged = judged_settings(trained, prompts, how, config.rewards) | {"heldout": list(config.evaluation.heldout)}
    done = _claim(folder, judged) if world.is_main else None
    if world.gather_objects(done)[0]:
        return
    start = time.perf_counter()
    evaluation = evaluate(trained, prompts, how, folder / FILE, world, running=training.rewards, clips=folder)
    if evaluation is None:
        return
    write_manifest(folder / "manifest.csv", jobs_of(prompts, how), prompts, f"{how.role}-step-{step}")
    earlier = [one for number, one in read_evaluations(training.out).items() if number < step]
    fallen = falls([*earlier, evaluation], planned(config))
    _tell(evaluation, fallen)
    tracker.tell(step, logged(evaluation, fallen) | {"eval_seconds": time.perf_counter() - start})
    write_evaluation(evaluation, folder / FILE)
    clear(folder / FILE)


def logged(evaluation: Evaluation, fallen: Sequence[Fall]) -> dict[str, Any]:
    """What a tracker gets of an evaluation: means by metric, failures, and warnings."""
    means = {eval_key(name): mean_of(metric) for name, metric in evaluation.metrics.items()}
    means |= {eval_key(name): value for name, value in evaluation.sets.items()}
    return means | {
        "eval_failures": len(evaluation.failures),
        "eval_warnings": len(fallen),
        "eval_warning_texts": [fall.sentence for fall in fallen],
    }


def _claim(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether an evaluation of these settings is complete; what is there of others makes way."""
    path = folder / _SETTINGS
    try:
        # Of a version that did not note the texts, they are taken for the same.
        same = {"texts": settings["texts"], **json.loads(path.read_text(encoding="utf-8"))} == settings
    except (OSError, ValueError, TypeError):
        same = False
    if not same:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(settings, path)
    return (folder / FILE).is_file()


def _digest(training: Training, step: int) -> str:
    """Identity of the policy: that of its checkpoint; before the first one it follows from the configuration."""
    saved = checkpoint.policies(training.out).get(step)
    if saved is not None:
        return checkpoint.meta_digest(checkpoint.read_meta(saved))[:16]
    return hashlib.sha256(json.dumps(asdict(training.config), sort_keys=True).encode()).hexdigest()[:16]


def _tell(evaluation: Evaluation, fallen: Sequence[Fall]) -> None:
    """One line on the console, and warnings."""
    parts = [f"evaluation after {evaluation.step} steps"]
    for rewarded in (True, False):
        chosen = {name: metric for name, metric in evaluation.metrics.items() if metric.rewarded == rewarded}
        means = {name: mean_of(metric) for name, metric in chosen.items()}
        parts += [] if rewarded or not means else ["held out:"]
        parts += [f"{name} {'failed' if mean is None else format(mean, '.4g')}" for name, mean in means.items()]
    _LOG.info("%s", "  ".join(parts))
    if evaluation.failures:
        _LOG.warning("%d values failed, for example: %s", len(evaluation.failures), evaluation.failures[0])
    for fall in fallen:
        _LOG.warning("%s", fall.sentence)
