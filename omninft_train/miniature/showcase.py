"""The whole method on the miniature: pretrain, post-train, sample before and after, score, and a page about it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from numpy.typing import NDArray

from omninft_train.clips import save_mp4
from omninft_train.config import Config
from omninft_train.evaluate import evaluate
from omninft_train.evaluation import Evaluation, read_evaluations, write_evaluation
from omninft_train.generate import Generation, Job, Role, Trained, load_trained, stream
from omninft_train.judging import clear
from omninft_train.method.regions import region_weights, warmed_maximum
from omninft_train.method.schedule import ltx2_levels
from omninft_train.miniature.pretrain import PretrainOptions, pretrained
from omninft_train.miniature.render import enlarge
from omninft_train.miniature.worlds import WORLDS
from omninft_train.models.backbone import Decoded
from omninft_train.models.latents import Geometry
from omninft_train.prompts import TrainPrompt
from omninft_train.recipe import load, to_toml
from omninft_train.report import ClipPair, Overlay, Report, score_rows, write_report
from omninft_train.reward_hacking import latest_falls
from omninft_train.training.assemble import assemble, make_capture
from omninft_train.training.distributed import World
from omninft_train.training.evaluating import planned
from omninft_train.training.rollout import sample
from omninft_train.training.tracking import read_metrics
from omninft_train.training.trainer import train

_LOG = logging.getLogger(__name__)
_PAIRS = 6  # prompts shown
_ROLES: dict[str, Role] = {"before": "reference", "after": "policy"}
_OVERLAYS = 2
_FACTOR = 8  # a pixel of the world becomes a square of this many
_PROGRESS = 50


@dataclass(frozen=True)
class Showcase:
    """Settings of the showcase.

    Attributes:
        recipe: name or file.
        overrides: "section.key=value" each.
        out: folder of everything that is made.
        cache: folder of pretrainings.
        pretraining: options; an equal one in the cache is used.
        samples: clips for each of the 16 prompts that training does not see.
    """

    recipe: str
    overrides: Sequence[str]
    out: Path
    cache: Path
    pretraining: PretrainOptions
    samples: int = 8


def run_showcase(show: Showcase) -> Path:
    """Do all of it; what is there from an earlier run with the same folder is used.

    Returns:
        The page.

    Raises:
        UsageError: a recipe that does not fit.
        TrainingStopped: a loss is not finite.
        EnvironmentProblem: something cannot be written.
    """
    weights = pretrained(show.cache, show.pretraining, _tell_pretraining)
    named = (f"backbone.path={json.dumps(str(weights))}", *show.overrides)
    world = WORLDS[show.pretraining.world]
    config = load(show.recipe, world.kind, named)
    run = show.out / "run"
    train(assemble(config, run, World()))
    trained, prompts = load_trained(run), world.evaluation_prompts()
    evaluations, clips = {}, {}
    for when, role in _ROLES.items():
        how, path = _generation(trained, show, role), show.out / f"{when}.json"
        found = evaluate(trained, prompts, how, path)
        if found is None:
            raise RuntimeError("one process has the evaluation")
        evaluations[when], clips[when] = found, _first_clips(trained, prompts, how)
        write_evaluation(found, path)
        clear(path)
        _LOG.info("%s training: %d clips sampled and judged", when, show.samples * len(prompts))
    watched = list(read_evaluations(run).values())
    report = Report(
        title="Post-training of the miniature",
        recipe=show.recipe,
        seed=config.run.seed,
        config_toml=to_toml(config),
        log=read_metrics(run),
        pairs=_pairs(show, clips, evaluations, prompts),
        scores=score_rows(evaluations["before"], evaluations["after"]),
        overlays=_overlays(trained, prompts),
        notes=_notes(trained, show),
        evaluations=watched,
        warnings=[fall.sentence for fall in latest_falls(watched, planned(config))],
    )
    return write_report(report, show.out / "report.html")


def _tell_pretraining(step: int, loss: float) -> None:
    if step % _PROGRESS == 0:
        _LOG.info("pretraining step %d: loss %.4f", step, loss)


def _generation(trained: Trained, show: Showcase, role: Role) -> Generation:
    sampling = trained.config.sampling
    return Generation(
        role=role,
        samples=show.samples,
        steps=2 * sampling.steps,
        guidance=sampling.guidance,
        seed=trained.config.run.seed,
        batch=sampling.batch,
    )


def _first_clips(trained: Trained, prompts: Sequence[TrainPrompt], how: Generation) -> dict[int, Decoded]:
    """The first clip of each prompt that is shown, sampled once more."""
    jobs = [Job(number, 0) for number in range(0, len(prompts), -(-len(prompts) // _PAIRS))]
    batches = stream(trained.backbone, trained.policy, prompts, how, jobs)
    return {job.prompt: clip for batch in batches for job, clip in batch}


def _pairs(
    show: Showcase,
    clips: dict[str, dict[int, Decoded]],
    evaluations: dict[str, Evaluation],
    prompts: Sequence[TrainPrompt],
) -> list[ClipPair]:
    pairs = []
    for number in clips["before"]:
        files = {
            when: save_mp4(enlarge(clips[when][number], _FACTOR), show.out / "clips" / f"{number:02d}-{when}.mp4")
            for when in _ROLES
        }
        index = number * show.samples
        scores = [
            (name, metric.values[index], evaluations["after"].metrics[name].values[index])
            for name, metric in evaluations["before"].metrics.items()
        ]
        pairs.append(ClipPair(prompts[number].prompt_av, files["before"], files["after"], scores))
    return pairs


def _overlays(trained: Trained, prompts: Sequence[TrainPrompt]) -> list[Overlay]:
    """Region weights of some clips as the next update would take them."""
    config, geometry = trained.config, trained.backbone.geometry
    capture = make_capture(config, trained.policy)
    if capture is None:
        return []
    chosen = prompts[:: -(-len(prompts) // _OVERLAYS)]
    latents = sample(
        trained.policy,
        "old",
        geometry.noise(range(len(chosen))),
        ltx2_levels(config.sampling.steps),
        trained.backbone.condition([prompt.prompt_av for prompt in chosen]),
        negative=trained.backbone.negative(),
        guidance=config.sampling.guidance,
        capture=capture,
        window=config.capture_window,
    )
    options = config.regions.weights
    weights = region_weights(capture.take(), geometry.frames, options, trained.step)
    capture.remove()
    maximum = warmed_maximum(options.maximum, trained.step, options.warmup_steps)
    clips = [enlarge(clip, _FACTOR) for clip in trained.backbone.decode(latents)]
    return [
        Overlay(prompt.prompt_av, list(clip.frames), _by_frame(row, geometry), maximum)
        for prompt, clip, row in zip(chosen, clips, weights, strict=True)
    ]


def _by_frame(weights: torch.Tensor, geometry: Geometry) -> list[NDArray]:  # type: ignore[type-arg]
    grid = weights.reshape(geometry.frames, geometry.height, geometry.width)
    return list(grid.numpy())


def _notes(trained: Trained, show: Showcase) -> list[str]:
    config: Config = trained.config
    prompts = len(WORLDS[config.backbone.kind].evaluation_prompts())
    count = prompts * show.samples
    return [
        f"{trained.step} steps of {config.prompts.groups} prompts x {config.prompts.group_size} rollouts, "
        f"{config.sampling.steps} sampling steps.",
        f"Before and after: {count} clips each, of {prompts} prompts that post-training did not see, "
        f"from equal noise, {2 * config.sampling.steps} sampling steps.",
        "The world is drawn by formulas, so its scores say nothing about LTX-2.",
    ]
