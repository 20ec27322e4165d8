"""Generate clips from a trained policy, and write them as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from avbench.config import build
from avbench.toml import Origin
from omninft_train.clips import save_mp4
from omninft_train.config import Config
from omninft_train.errors import UsageError
from omninft_train.files import make_folder, write_atomically
from omninft_train.method.schedule import ltx2_levels
from omninft_train.models.backbone import Backbone, Decoded
from omninft_train.models.policy import Policy
from omninft_train.prompts import TrainPrompt, load_prompts
from omninft_train.training import checkpoint
from omninft_train.training.assemble import load_backbone, make_policy
from omninft_train.training.rollout import Guidance, rollout_seed, sample

Role = Literal["policy", "old", "reference"]
COLUMNS = ("clip_id", "video", "text", "video_text", "audio_text", "prompt_id", "sample_index", "model")


@dataclass(frozen=True)
class Trained:
    """A run's policy, ready to sample."""

    config: Config
    backbone: Backbone
    policy: Policy
    step: int


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


def default_device() -> str:
    """The first GPU, or the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_trained(run: Path, device: str, prompts: Sequence[str] = ()) -> Trained:
    """The policy of a run's last checkpoint, ready for some prompts.

    Raises:
        UsageError: no checkpoint, or one of another backbone.
    """
    folder, config = _last(run), read_config(run)
    backbone = load_backbone(config, device, prompts)
    policy = make_policy(config, backbone)
    loaded = checkpoint.load(folder, backbone.kind, backbone.digest)
    policy.load(loaded.part("policy"), loaded.part("old"))
    return Trained(config, backbone, policy, loaded.step)


def read_config(run: Path) -> Config:
    """The configuration that a run was started with."""
    folder = _last(run)
    return build(Config, checkpoint.read_meta(folder)["config"], Origin(str(folder)))


def _last(run: Path) -> Path:
    folder = checkpoint.latest(run)
    if folder is None:
        raise UsageError(f"{run} holds no checkpoint. Train first: omninft-train train --out {run}")
    return folder


def evaluation_prompts(run: Path, path: Path | None) -> list[TrainPrompt]:
    """Prompts of a file, or those that the miniature keeps aside.

    Raises:
        UsageError: the run's backbone keeps none aside.
    """
    if path is not None:
        return load_prompts(path)
    if read_config(run).backbone.kind != "miniature":
        raise UsageError("a prompt file is needed (--prompts): only the miniature keeps prompts aside for evaluation.")
    from omninft_train.miniature.world import evaluation_prompts as kept_aside

    return kept_aside()


def generate(
    backbone: Backbone, policy: Policy, prompts: Sequence[TrainPrompt], how: Generation
) -> list[list[Decoded]]:
    """Clips in memory: for each prompt, `samples` of them."""
    jobs = [(number, index) for number in range(len(prompts)) for index in range(how.samples)]
    device = next(policy.transformer(how.role).parameters()).device
    clips: list[list[Decoded]] = [[] for _ in prompts]
    for start in range(0, len(jobs), how.batch):
        batch = jobs[start : start + how.batch]
        latents = sample(
            policy,
            how.role,
            backbone.geometry.noise([rollout_seed(how.seed, 0, *job) for job in batch], device),
            ltx2_levels(how.steps),
            backbone.condition([prompts[number].prompt_av for number, _ in batch]),
            negative=backbone.negative(),
            guidance=how.guidance,
        )
        for (number, _), clip in zip(batch, backbone.decode(latents), strict=True):
            clips[number].append(clip)
    return clips


def write_clips(folder: Path, clips: Sequence[Sequence[Decoded]], prompts: Sequence[TrainPrompt], model: str) -> Path:
    """Write mp4 files and the manifest that `avbench score` reads; returns the manifest."""
    make_folder(folder)
    table = io.StringIO()
    rows = csv.DictWriter(table, COLUMNS)
    rows.writeheader()
    for number, (of_prompt, prompt) in enumerate(zip(clips, prompts, strict=True)):
        for index, clip in enumerate(of_prompt):
            name = f"{number:05d}-{index}"
            save_mp4(clip, folder / f"{name}.mp4")
            texts = (prompt.prompt_av, prompt.prompt_v, prompt.prompt_a)
            values = (name, f"{name}.mp4", *texts, f"{number:05d}", index, model)
            rows.writerow(dict(zip(COLUMNS, values, strict=True)))
    manifest = folder / "manifest.csv"
    write_atomically(manifest, table.getvalue().encode())
    return manifest
