"""The whole method on the miniature: pretrain, post-train, sample before and after, score, and a page about it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omninft_train.clips import save_mp4
from omninft_train.config import Config
from omninft_train.errors import UsageError
from omninft_train.evaluate import evaluate
from omninft_train.evaluation import read_evaluations, write_evaluation
from omninft_train.generate import Generation, Job, Trained, load_trained, read_config, stream
from omninft_train.judging import clear
from omninft_train.method.regions import region_weights, warmed_maximum
from omninft_train.miniature.measures import sampled
from omninft_train.miniature.pretrain import PretrainOptions, folder_of, pretrained
from omninft_train.miniature.render import enlarge
from omninft_train.miniature.worlds import WORLDS
from omninft_train.models.policy import Role
from omninft_train.prompts import TrainPrompt
from omninft_train.recipe import load, to_toml
from omninft_train.report import Overlay, Report, write_report
from omninft_train.report.scores import clip_pairs, score_rows, shown_prompts
from omninft_train.reward_hacking import latest_falls
from omninft_train.rewards.local import find_source
from omninft_train.training import checkpoint
from omninft_train.training.assemble import assemble, make_capture
from omninft_train.training.distributed import World
from omninft_train.training.evaluating import planned
from omninft_train.training.trackers import flat
from omninft_train.training.tracking import read_metrics
from omninft_train.training.trainer import train

_LOG = logging.getLogger(__name__)
_ROLES: dict[str, Role] = {"before": "reference", "after": "policy"}
_OVERLAYS = 2
# Values that change what is kept, shown or used of the machine, and no clip.
_FREE = (
    "run.", "evaluation.", "rewards.overlap", "rewards.device", "rewards.backend", "rewards.offload",
    "rewards.max_failed_fraction", "sampling.batch", "optimizer.batch", "backbone.cache", "backbone.offload",
)  # fmt: skip
_FACTOR = 8  # a pixel of the world becomes a square of this many


@dataclass(frozen=True)
class Showcase:
    """Settings of the showcase.

    Attributes:
        recipe: name or file.
        overrides: "section.key=value" each.
        out: folder of everything that is made.
        cache: folder of pretrainings.
        pretraining: options; an equal one in the cache is used.
        samples: clips for each prompt that training does not see.
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
    world, run = WORLDS[show.pretraining.world], show.out / "run"
    for spec in load(show.recipe, world.kind, show.overrides).rewards.reward:  # before minutes of pretraining
        find_source(spec)
    weights = folder_of(show.cache, show.pretraining)
    config = load(show.recipe, world.kind, (f"backbone.path={json.dumps(str(weights))}", *show.overrides))
    _check_same(run, config, show.cache)
    pretrained(show.cache, show.pretraining, _tell_pretraining)
    train(assemble(config, run, World()))
    trained, prompts = load_trained(run), world.evaluation_prompts()
    sampling, seed, evaluations = trained.config.sampling, trained.config.run.seed, {}
    for when, role in _ROLES.items():
        how = Generation(role, show.samples, 2 * sampling.steps, sampling.guidance, seed, sampling.batch)
        path = show.out / f"{when}.json"
        found = evaluate(trained, prompts, how, path)
        if found is None:
            raise RuntimeError("one process has the evaluation")
        evaluations[when] = found
        _save_clips(show, when, trained, prompts, how)
        write_evaluation(found, path)
        clear(path)
        _LOG.info("%s training: %d clips sampled and judged", when, show.samples * len(prompts))
    before, after = evaluations["before"], evaluations["after"]
    watched = list(read_evaluations(run).values())
    report = Report(
        title="Post-training of the miniature",
        recipe=show.recipe,
        seed=config.run.seed,
        config_toml=to_toml(config),
        log=read_metrics(run),
        pairs=clip_pairs(before, after, lambda n: (_clip_file(show, n, "before"), _clip_file(show, n, "after"))),
        scores=score_rows(before, after),
        overlays=_overlays(trained, prompts),
        notes=_notes(trained, show, len(prompts)),
        evaluations=watched,
        warnings=[fall.sentence for fall in latest_falls(watched, planned(config))],
        weights={spec.name: spec.weight for spec in config.rewards.reward},
    )
    return write_report(report, show.out / "report.html")


def _check_same(run: Path, config: Config, cache: Path) -> None:
    """Make sure that what is trained there already is what is asked for, but for how long and how it is watched.

    Raises:
        UsageError: the run was started with other values.
    """
    if checkpoint.latest(run) is None:
        return
    there, asked = _identity(read_config(run)), _identity(config)
    odd = sorted(key for key in {**there, **asked} if there.get(key) != asked.get(key))
    if odd:
        raise UsageError(
            f"{run} was trained with other values of {', '.join(odd[:5])}. Name another folder (--out), with "
            f"--cache {cache} for the same pretraining, or delete this one."
        )


def _identity(config: Config) -> dict[str, Any]:
    values = {key.replace("/", "."): value for key, value in flat(asdict(config)).items()}
    kept = {key: value for key, value in values.items() if not key.startswith(_FREE)}
    # The folder of a pretraining may be named from elsewhere; its own name follows from its options.
    return kept | {"run.seed": config.run.seed, "backbone.path": Path(config.backbone.path).name}


def _tell_pretraining(step: int, loss: float) -> None:
    _LOG.info("pretraining step %d: loss %.4f", step, loss)


def _save_clips(show: Showcase, when: str, trained: Trained, prompts: Sequence[TrainPrompt], how: Generation) -> None:
    """The first clip of each prompt that is shown, sampled once more."""
    jobs = [Job(number, 0) for number in shown_prompts(len(prompts))]
    for batch in stream(trained.backbone, trained.policy, prompts, how, jobs):
        for job, clip in batch:
            save_mp4(enlarge(clip, _FACTOR), _clip_file(show, job.prompt, when))


def _clip_file(show: Showcase, number: int, when: str) -> Path:
    return show.out / "clips" / f"{number:02d}-{when}.mp4"


def _overlays(trained: Trained, prompts: Sequence[TrainPrompt]) -> list[Overlay]:
    """Region weights of some clips as the next update would take them."""
    config, geometry = trained.config, trained.backbone.geometry
    capture = make_capture(config, trained.policy)
    if capture is None:
        return []
    texts = [prompt.prompt_av for prompt in prompts[:: -(-len(prompts) // _OVERLAYS)]]
    clips = sampled(trained, "old", texts, range(len(texts)), capture)
    options = config.regions.weights
    weights = region_weights(capture.take(), geometry.frames, options, trained.step)
    capture.remove()
    maximum = warmed_maximum(options.maximum, trained.step, options.warmup_steps)
    grid = (geometry.frames, geometry.height, geometry.width)
    return [
        Overlay(text, list(enlarge(clip, _FACTOR).frames), list(row.reshape(grid).numpy()), maximum)
        for text, clip, row in zip(texts, clips, weights, strict=True)
    ]


def _notes(trained: Trained, show: Showcase, prompts: int) -> list[str]:
    config = trained.config
    return [
        f"{trained.step} steps of {config.prompts.groups} prompts x {config.prompts.group_size} rollouts, "
        f"{config.sampling.steps} sampling steps.",
        f"Before and after: {prompts * show.samples} clips each, of {prompts} prompts that post-training did not see, "
        f"from equal noise, {2 * config.sampling.steps} sampling steps.",
        "The world is drawn by formulas, so its scores say nothing about LTX-2.",
    ]
