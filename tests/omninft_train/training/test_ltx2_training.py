"""The same loop on a tiny LTX-2 pipeline of real classes: adapters trained, exported, and loaded back by diffusers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import LTX2Pipeline
from tiny_pipeline import SIZE, save_tiny_pipeline
from tiny_training import assert_close, log, make, run

from omninft_train.config import Config
from omninft_train.errors import UsageError
from omninft_train.export import export
from omninft_train.generate import Generation, load_trained, sample_clips
from omninft_train.prompts import load_prompts
from omninft_train.recipe import load

REWARDS = (
    '{scorer = "sharpness", weight = 1.0, route = "video", scale = 0.01}',
    '{scorer = "loudness", weight = 1.0, route = "audio", scale = 0.05}',
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ltx2")
    save_tiny_pipeline(folder / "pipeline", "2.3")
    words = ["a dog barks", "rain falls", "a bell rings"]
    lines = [json.dumps({"prompt_av": w, "prompt_v": w, "prompt_a": w}) for w in words]
    (folder / "prompts.jsonl").write_text("\n".join(lines))
    return folder


def config(folder: Path, *changes: str) -> Config:
    # 0.7 s, for loudness needs 0.4 s of sound.
    sizes = [f"backbone.{key}={value}" for key, value in (SIZE | {"frames": 17}).items()]
    return load(
        "omninft",
        "ltx2",
        [
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
            *changes,
        ],
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_train_sample_and_export(folder: Path, tmp_path: Path, dtype: str) -> None:
    found = run(config(folder, f"backbone.dtype={dtype}", "sampling.steps=3"), tmp_path / "run")
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    rows = log(tmp_path / "run")
    assert rows[1]["distance_old"] > 0 and rows[1]["region_weight_max"] > 1
    assert len(rows[1]["gradient_by_depth_without_surgery"]["audio"]) > 1
    assert not list((tmp_path / "run").glob("non-finite*"))

    trained = load_trained(tmp_path / "run", "cpu")
    prompts = load_prompts(folder / "prompts.jsonl")
    how = Generation("policy", 1, 4, trained.config.sampling.guidance, 0, 2)
    manifest = sample_clips(tmp_path / "clips", trained, prompts, how)
    assert len(manifest.read_text().splitlines()) == 4 and len(list((tmp_path / "clips").glob("*.mp4"))) == 3

    export(tmp_path / "run", tmp_path / "lora")
    pipeline = LTX2Pipeline.from_pretrained(folder / "pipeline", torch_dtype=getattr(torch, dtype))
    pipeline.load_lora_weights(tmp_path / "lora")
    noise = trained.backbone.geometry.noise([1])
    condition = trained.backbone.condition([prompts[0].prompt_av])
    ours = trained.policy.velocity("policy", noise, torch.tensor([0.9]), condition)
    base = trained.policy.velocity("reference", noise, torch.tensor([0.9]), condition)
    from omninft_train.models.velocity import predict

    with torch.no_grad():
        video, audio = predict(
            pipeline.transformer, trained.backbone.geometry, noise, torch.tensor([0.9]), condition, skip_blocks=()
        )
    tolerance = 1e-5 if dtype == "float32" else 0.05
    torch.testing.assert_close(video.float(), ours.video.float(), atol=tolerance, rtol=0)
    torch.testing.assert_close(audio.float(), ours.audio.float(), atol=tolerance, rtol=0)
    assert not torch.equal(base.video, ours.video)


def test_checkpointing_of_activations_changes_nothing(folder: Path, tmp_path: Path) -> None:
    short = ("run.steps=1", "sampling.steps=3")
    off = run(config(folder, "backbone.gradient_checkpointing=false", *short), tmp_path / "off")
    on = run(config(folder, "backbone.gradient_checkpointing=true", *short), tmp_path / "on")
    assert_close(on, off, atol=1e-6)


def test_only_prompts_of_the_run_are_encoded(folder: Path, tmp_path: Path) -> None:
    make(config(folder, f'backbone.cache="{tmp_path / "cache"}"', "run.steps=1"), tmp_path / "run")
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 3  # two prompts and the negative one


def test_a_block_that_is_not_there_is_told_before_sampling(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"stg_blocks: 29, but the network has blocks 0 to"):
        make(config(folder, "sampling.guidance.stg_blocks=[29]"), tmp_path / "run")
