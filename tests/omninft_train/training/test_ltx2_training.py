"""The same loop on a tiny LTX-2 pipeline of real classes: adapters trained, exported, and loaded back by diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTX2Pipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_ltx2_run import ltx2_config as config
from tiny_ltx2_run import save_material
from tiny_pipeline import save_tiny_pipeline
from tiny_training import assert_close, log, make, run

from omninft_train.errors import UsageError
from omninft_train.evaluation import read_evaluations
from omninft_train.export import ExportOptions, export
from omninft_train.generate import Generation, load_trained, sample_clips
from omninft_train.models.adapter_files import LORA_FILE
from omninft_train.prompts import load_prompts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_material(tmp_path_factory.mktemp("ltx2"))


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
@pytest.mark.long
def test_train_sample_and_export(folder: Path, tmp_path: Path, dtype: str) -> None:
    found = run(config(folder, f"backbone.dtype={dtype}", "sampling.steps=3"), tmp_path / "run")
    assert all(tensor.dtype == torch.float32 for tensor in found.values())
    rows = log(tmp_path / "run")
    assert rows[1]["distance_old"] > 0 and rows[1]["region_weight_max"] > 1
    assert len(rows[1]["gradient_by_depth_without_surgery"]["audio"]) > 1
    assert not list((tmp_path / "run").glob("non-finite*"))

    trained = load_trained(tmp_path / "run")
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


@pytest.mark.long
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


@pytest.mark.parametrize(
    "form", ["diffusers", *(pytest.param(form, marks=pytest.mark.slow) for form in ("comfyui", "peft"))]
)
@pytest.mark.long
def test_training_goes_on_from_an_exported_lora(folder: Path, tmp_path: Path, form: Any) -> None:
    short = ("sampling.steps=3", "run.steps=1")
    run(config(folder, *short), tmp_path / "first")
    export(tmp_path / "first", tmp_path / "lora", ExportOptions(form))
    from_it = config(folder, *short, f'policy.init="{tmp_path / "lora"}"', "loss.kl_coef=1.0")
    run(from_it, tmp_path / "second")
    first, second = (load_trained(tmp_path / name) for name in ("first", "second"))
    noise = first.backbone.geometry.noise([1])
    inputs = (noise, torch.tensor([0.9]), first.backbone.condition(["a dog barks"]))
    wanted, reference, now = (
        trained.policy.velocity(role, *inputs)
        for trained, role in ((first, "policy"), (second, "reference"), (second, "policy"))
    )
    assert torch.equal(reference.video, wanted.video) and torch.equal(reference.audio, wanted.audio)
    assert not torch.equal(now.video, wanted.video)
    # The pull to the reference is nothing before the first update: policy and reference began as the same LoRA.
    assert log(tmp_path / "second")[0]["kl"] == 0
    # The reference is not in the checkpoint, so the file has to stay what it was.
    (file,) = (tmp_path / "lora").glob("*.safetensors")
    save_file({name: 2 * tensor for name, tensor in load_file(file).items()}, file)
    if form == "peft":
        with pytest.raises(UsageError, match=r"was not started from the file that policy.init names now"):
            run(from_it, tmp_path / "second")


@pytest.mark.long
def test_ltx25_is_trained_evaluated_sampled_and_exported(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_tiny_pipeline(tmp_path / "pipeline", "2.5")
    newer = (f'backbone.path="{tmp_path / "pipeline"}"', f'backbone.cache="{tmp_path / "cache"}"')
    evaluated = ("run.eval_every=1", "evaluation.samples=1", "evaluation.steps=2")
    evaluated += (f'evaluation.prompts="{folder / "prompts.jsonl"}"',)
    run(config(folder, *newer, *evaluated, "sampling.steps=3"), tmp_path / "run")
    evaluations = read_evaluations(tmp_path / "run")
    assert list(evaluations) == [0, 1, 2]
    for one in evaluations.values():
        assert one.metrics.keys() == {"sharpness", "loudness"} and not one.failures
        assert all(len(metric.values) == 3 for metric in one.metrics.values())
    assert evaluations[0].metrics["sharpness"].values != evaluations[2].metrics["sharpness"].values
    assert caplog.text.count("nothing is held out") == 1  # LTX-2 has no held-out measures of its own
    rows = log(tmp_path / "run")
    assert rows[1]["distance_old"] > 0 and rows[1]["region_weight_max"] > 1
    trained = load_trained(tmp_path / "run")
    how = Generation("policy", 1, 4, trained.config.sampling.guidance, 0, 2)
    sample_clips(tmp_path / "clips", trained, load_prompts(folder / "prompts.jsonl"), how)
    assert len(list((tmp_path / "clips").glob("*.mp4"))) == 3
    with safe_open(export(tmp_path / "run", tmp_path / "lora") / LORA_FILE, "pt") as file:
        assert file.metadata()["base_version"] == "LTX-2.5"
    LTX2Pipeline.from_pretrained(tmp_path / "pipeline").load_lora_weights(tmp_path / "lora")


def test_everything_cannot_start_from_a_lora(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"policy\.init with policy\.parameters = 'full'.*--format merged"):
        config(folder, "policy.parameters=full", "policy.init=lora")
