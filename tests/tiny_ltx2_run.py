"""A training run on a tiny LTX-2 pipeline of real classes: seconds for two steps."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_pipeline import SIZE, Version, save_tiny_pipeline

from omninft_train.config import Config
from omninft_train.recipe import load

REWARDS = (
    '{scorer = "sharpness", weight = 1.0, route = "video", scale = 0.01}',
    '{scorer = "loudness", weight = 1.0, route = "audio", scale = 0.05}',
)


def save_material(folder: Path, version: Version = "2.3") -> Path:
    """A pipeline and prompts."""
    save_tiny_pipeline(folder / "pipeline", version)
    words = ["a dog barks", "rain falls", "a bell rings"]
    lines = [json.dumps({"prompt_av": w, "prompt_v": w, "prompt_a": w}) for w in words]
    (folder / "prompts.jsonl").write_text("\n".join(lines))
    return folder


def ltx2_changes(folder: Path) -> list[str]:
    """Overrides of a recipe that train on the pipeline, with guidance by a skipped block."""
    # 0.7 s, for loudness needs 0.4 s of sound.
    sizes = [f"backbone.{key}={value}" for key, value in (SIZE | {"frames": 17}).items()]
    return [
        f'backbone.path="{folder / "pipeline"}"',
        f'backbone.cache="{folder / "cache"}"',
        f'prompts.path="{folder / "prompts.jsonl"}"',
        *sizes,
        "run.steps=2",
        "run.save_every=1",
        "run.probe_every=1",
        "prompts.groups=2",
        "prompts.group_size=2",
        "sampling.steps=5",
        "sampling.guidance.stg_blocks=[1]",
        "regions.weights.warmup_steps=1",
        "optimizer.lr=1e-2",
        "rewards.device=cpu",
        "rewards.precision=fp32",
        f"rewards.reward=[{', '.join(REWARDS)}]",
    ]


def ltx2_config(folder: Path, *changes: str) -> Config:
    """The release's recipe at this size, with changes."""
    return load("omninft", "ltx2", [*ltx2_changes(folder), *changes])
