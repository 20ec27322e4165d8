"""Generate clips from a trained policy, and write them as files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from avbench.config import build, located
from avbench.toml import Origin, merge
from omninft_train.clips import save_mp4
from omninft_train.config import Config
from omninft_train.config_checks import check
from omninft_train.errors import SettingError, UsageError
from omninft_train.files import make_folder, write_atomically
from omninft_train.method.schedule import ltx2_levels
from omninft_train.models.backbone import Backbone, Decoded
from omninft_train.models.loading import sharing_node
from omninft_train.models.policy import Policy, Role
from omninft_train.prompts import TrainPrompt
from omninft_train.recipe import parse_override
from omninft_train.training import checkpoint
from omninft_train.training.agreement import find_checkpoint
from omninft_train.training.assemble import load_networks
from omninft_train.training.best import best_policy
from omninft_train.training.distributed import ALONE, TIMEOUT, World
from omninft_train.training.layout import choose_layout
from omninft_train.training.rollout import NOISE, Guidance, clip_seed, sample
from omninft_train.training.saving import check_start

_SETTINGS = "sampling.json"
# Of earlier versions. Sampling reads none of them; region weights that are measured or drawn take the default form.
_FORMER_KEYS = ("old", "backbone.compile", "advantages.sample_std", "surgery.direction", "loss.adaptive_weights")
_FORMER_VALUES = {"advantages.mode": "gdpo-original", "surgery.preset": "deep", "regions.weights.form": "topk"}
COLUMNS = ("clip_id", "video", "text", "video_text", "audio_text", "prompt_id", "sample_index", "model")


@dataclass(frozen=True)
class Trained:
    """A run's policy, ready to sample.

    Attributes:
        step: optimiser steps done.
        digest: identity of the checkpoint.
        has_old: whether the old policy was kept; of older checkpoints it is not.
        overrides: in place of what the checkpoint says.
    """

    config: Config
    backbone: Backbone
    policy: Policy
    step: int
    digest: str
    has_old: bool = True
    overrides: tuple[str, ...] = ()


class Job(NamedTuple):
    """One clip to sample: which of the prompts, and which of its samples."""

    prompt: int
    sample: int

    @property
    def name(self) -> str:
        """Id of the clip."""
        return f"{self.prompt:05d}-{self.sample}"

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.name}.mp4"


@dataclass(frozen=True)
class Generation:
    """How clips are sampled.

    Attributes:
        role: whose clips.
        samples: per prompt.
        steps: Euler steps.
        guidance: see `Guidance`.
        seed: of the noise; equal seeds give equal noise to every policy, so clips can be compared in pairs.
        batch: clips per forward pass.
    """

    role: Role
    samples: int
    steps: int
    guidance: Guidance
    seed: int
    batch: int


def scaled(guidance: Guidance, scales: tuple[float, float] | None) -> Guidance:
    """Guidance with other scales of video and audio, where they are given."""
    return guidance if scales is None else replace(guidance, video=scales[0], audio=scales[1])


def load_trained(
    run: Path,
    prompts: Sequence[TrainPrompt] = (),
    world: World = ALONE,
    step: int | None = None,
    overrides: Sequence[str] = (),
) -> Trained:
    """A run's policy, ready for some prompts.

    Args:
        run: folder of the run.
        prompts: encoded now, a part by each process for all.
        world: processes that load it together; weights lie as in training, `run.shard`, and are read once per node.
        step: whose policy; None for the last one.
        overrides: "section.key=value", in place of what the run was trained with: where the base lies, for example.

    Raises:
        UsageError: no checkpoint of that step, or one of another backbone.
    """
    folder = find_checkpoint(run, step, world)
    config = _config_in(folder, overrides)
    texts = list(dict.fromkeys(prompt.prompt_av for prompt in prompts))
    backbone, policy = load_networks(config, texts, choose_layout(config, world), world)
    with sharing_node(world.node_size, world.device, TIMEOUT) as node:
        loaded = checkpoint.load(folder, backbone.kind, backbone.digest, node)
        check_start(loaded, policy)
        now = loaded.part("policy")
        policy.load(now, loaded.tensors.get("old", now))
    digest = checkpoint.meta_digest(loaded.meta)[:16]
    return Trained(config, backbone, policy, loaded.step, digest, "old" in loaded.tensors, tuple(overrides))


def step_number(run: Path, step: str) -> int | None:
    """What `--step` means: a number, "best" by the run's own `run.best_by`, or "last", which is None.

    Raises:
        UsageError: none of these, or the run names nothing to choose by.
    """
    if step == "last":
        return None
    if step == "best":
        section = read_config(run).run
        if section.best_by is None:
            raise UsageError(
                f"step best (--step): {run} was trained without run.best_by. Name a step, or set it and go on."
            )
        return best_policy(run, section.best_by, section.save_every)
    if not step.isdecimal():
        raise UsageError(f"step {step} (--step): expected a number of steps, 'best' or 'last'.")
    return int(step)


def read_config(run: Path, step: int | None = None, overrides: Sequence[str] = ()) -> Config:
    """The configuration that a run was started with, as the checkpoint of a step has it, with overrides.

    Options that are gone are left out: keys, and values, for which the default stands.

    Raises:
        UsageError: no such checkpoint, or an override that is none, or does not fit.
    """
    return _config_in(checkpoint.find(run, step), overrides)


def _config_in(folder: Path, overrides: Sequence[str] = ()) -> Config:
    content = checkpoint.read_meta(folder)["config"]
    for path in (*_FORMER_KEYS, *_FORMER_VALUES):
        *tables, key = path.split(".")
        table = content
        for name in tables:
            table = table.get(name, {})
        if path in _FORMER_KEYS or table.get(key) == _FORMER_VALUES[path]:
            table.pop(key, None)
    changes = [parse_override(text) for text in overrides]
    kind = content["backbone"]["kind"] if changes else ""
    for change in changes:
        content = merge(content, change.content)
    origins = [Origin(str(folder)), *(change.origin for change in changes)]
    config = build(Config, content, origins)
    if changes:
        with located(origins):
            check(config)
            if config.backbone.kind != kind:
                raise SettingError(f"backbone.kind: the run is on '{kind}'.", "backbone.kind")
    return config


def jobs_of(prompts: Sequence[TrainPrompt], how: Generation) -> list[Job]:
    """All clips to sample, prompts first."""
    return [Job(number, index) for number in range(len(prompts)) for index in range(how.samples)]


def dealt(jobs: list[Job], world: World) -> list[Job]:
    """This process's part of some jobs; some do the first one again, so that all have equally many.

    Networks that are spread over processes need all of them in every pass.
    """
    return [*jobs, *jobs[:1] * (-len(jobs) % world.size)][world.rank :: world.size]


def is_written(clip: Path) -> bool:
    """Whether a file is there with something in it; one that lost its content in a crash is made again."""
    try:
        return clip.stat().st_size > 0
    except OSError:
        return False


def stream(
    backbone: Backbone, policy: Policy, prompts: Sequence[TrainPrompt], how: Generation, jobs: Sequence[Job]
) -> Iterator[list[tuple[Job, Decoded]]]:
    """Clips of some jobs, one batch after another; nothing is kept, and each clip depends on its own job alone."""
    device = next(policy.transformer(how.role).parameters()).device
    for start in range(0, len(jobs), how.batch):
        batch = jobs[start : start + how.batch]
        latents = sample(
            policy,
            how.role,
            backbone.geometry.noise([clip_seed(how.seed, job.prompt, job.sample) for job in batch], device),
            ltx2_levels(how.steps),
            backbone.condition([prompts[job.prompt].prompt_av for job in batch]),
            negative=backbone.negative(),
            guidance=how.guidance,
        )
        yield list(zip(batch, backbone.decode(latents), strict=True))


def settings_of(trained: Trained, prompts: Sequence[TrainPrompt], how: Generation) -> dict[str, Any]:
    """What clips depend on, for comparison with those of an earlier call; how they are batched is no part of it."""
    texts = json.dumps([prompt.prompt_av for prompt in prompts]).encode()
    settings = {key: value for key, value in asdict(how).items() if key != "batch"}
    settings |= {"checkpoint": trained.digest, "backbone": trained.backbone.digest, "noise": NOISE}
    if how.role == "old" and not trained.has_old:
        raise UsageError(f"the old policy of step {trained.step} was not kept; only that of the last steps is.")
    if trained.overrides:  # beside what the checkpoint says
        settings["set"] = sorted(trained.overrides)
    content: dict[str, Any] = json.loads(json.dumps(settings | {"prompts": hashlib.sha256(texts).hexdigest()}))
    return content


def sample_clips(
    folder: Path, trained: Trained, prompts: Sequence[TrainPrompt], how: Generation, world: World = ALONE
) -> Path:
    """Write mp4 files one batch after another, and the manifest that `avbench score` reads; returns the manifest.

    Clips that an interrupted call with equal settings left are used. Several processes share the work.

    Raises:
        UsageError: the folder holds clips of other settings.
        EnvironmentProblem: it cannot be written.
    """
    jobs = jobs_of(prompts, how)
    problem = _claim(folder, settings_of(trained, prompts, how), jobs) if world.is_main else None
    problem = world.gather_objects(problem)[0]  # type: ignore[assignment]
    if problem is not None:
        raise UsageError(problem)
    # What the first process finds: others may see an older state of the folder.
    missing: Any = world.gather_objects([job for job in jobs if not is_written(folder / job.file)])[0]
    for batch in stream(trained.backbone, trained.policy, prompts, how, dealt(missing, world)):
        for job, clip in batch:
            save_mp4(clip, folder / job.file)
    world.barrier()
    manifest = folder / "manifest.csv"
    if world.is_main:
        write_manifest(manifest, jobs, prompts, f"{how.role}-step-{trained.step}")
    return manifest


def _claim(folder: Path, settings: Mapping[str, Any], jobs: Sequence[Job]) -> str | None:
    """Note the settings of a folder's clips, or say why it is not free for these."""
    make_folder(folder)
    path = folder / _SETTINGS
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = None
    except (OSError, ValueError) as error:
        return f"{path}: cannot be read ({error}). Choose another folder (--out), or delete this one."
    if there == settings:
        return None
    if isinstance(there, dict):
        keys = ", ".join(sorted(key for key in {**there, **settings} if there.get(key) != settings.get(key)))
        return f"{folder} holds clips of other settings ({keys}). Choose another folder (--out), or delete this one."
    for job in jobs:  # nobody knows whose these are
        (folder / job.file).unlink(missing_ok=True)
    write_atomically(path, (json.dumps(settings, indent=1) + "\n").encode())
    return None


def write_manifest(manifest: Path, jobs: Sequence[Job], prompts: Sequence[TrainPrompt], model: str) -> None:
    """The table of a folder of clips that `avbench score` reads."""
    table = io.StringIO()
    rows = csv.writer(table, quoting=csv.QUOTE_ALL)  # so that a text keeps its first spaces
    rows.writerow(COLUMNS)
    for job in jobs:
        prompt = prompts[job.prompt]
        texts = (prompt.prompt_av, prompt.prompt_v, prompt.prompt_a)
        rows.writerow((job.name, job.file, *texts, f"{job.prompt:05d}", job.sample, model))
    write_atomically(manifest, table.getvalue().encode())
