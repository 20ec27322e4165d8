"""`sample` and `evaluate` give the clips of the role that they are asked for, as the reference samples them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest
import reference_loop as formulas
import torch
from numpy.typing import NDArray
from reference_inputs import apart, double, shapes, sizes, text
from test_anchors import METHOD
from tiny_training import make, tiny_config, tiny_weights
from typer.testing import CliRunner

from omninft_train.cli import app
from omninft_train.errors import UsageError
from omninft_train.generate import Generation, jobs_of, load_trained, stream
from omninft_train.miniature.judges import picture, sound, sync
from omninft_train.models.backbone import Decoded
from omninft_train.models.latents import Latents
from omninft_train.prompts import TrainPrompt
from omninft_train.training import saving
from omninft_train.training.rollout import Guidance

ROLES = ("policy", "old", "reference")
SAMPLES, SEED, SAMPLING_STEPS = 2, 3, 8
GUIDANCE = Guidance(1.5, 3.0, 0.7, (1,))


@dataclass(frozen=True)
class Run:
    """A run whose policies lie apart, some prompts, and the reference's clips of every role, prompts first."""

    folder: Path
    prompts: list[TrainPrompt]
    clips: Mapping[str, list[Decoded]]

    def prompt_file(self, folder: Path) -> Path:
        rows = [
            {name: getattr(prompt, name) for name in ("prompt_av", "prompt_v", "prompt_a")} for prompt in self.prompts
        ]
        path = folder / "prompts.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    guidance = [f"sampling.guidance.{k}={v}" for k, v in (("video", 1.5), ("audio", 3.0), ("stg", 0.7))]
    config = tiny_config(tiny_weights(folder / "weights"), *guidance, "sampling.guidance.stg_blocks=[1]")
    training = make(config, folder)
    policy, backbone = training.policy, training.backbone
    network = policy.transformer("reference")
    parts = {"reference": double(dict(network.named_parameters()))}
    apart(training, 0.1)
    saving.save(training, 1)
    parts |= {"policy": double(policy.trainable()), "old": double(policy.old())}

    prompts = training.prompts[:2]
    method = replace(METHOD, region_passes=())
    words = text(backbone.condition([prompt.prompt_av for prompt in prompts for _ in range(SAMPLES)]))
    geometry, negative = backbone.geometry, text(backbone.negative())
    world = formulas.World(
        network.double(),
        sizes(geometry),
        geometry.frames,
        shapes(geometry),
        lambda own: own,
        lambda _: words,
        negative,
        lambda _, __: torch.zeros(0),
    )
    start = formulas.noise(world, [formulas.seed_of(SEED, -1, i, j) for i in range(2) for j in range(SAMPLES)])
    levels = formulas.noise_levels(SAMPLING_STEPS)
    clips = {}
    for role in ROLES:
        latents, _ = formulas.rollouts(method, world, parts[role], start, words, levels)
        clips[role] = backbone.decode(Latents(latents[0].float(), latents[1].float()))
    return Run(folder, prompts, clips)


@pytest.mark.parametrize("role", ROLES)
def test_clips_are_those_of_the_role(run: Run, role: str) -> None:
    trained = load_trained(run.folder)
    how = Generation(role, SAMPLES, SAMPLING_STEPS, GUIDANCE, SEED, 3)  # type: ignore[arg-type]
    batches = stream(trained.backbone, trained.policy, run.prompts, how, jobs_of(run.prompts, how))
    found = [clip for batch in batches for _, clip in batch]
    for clip, wanted in zip(found, run.clips[role], strict=True):
        assert np.abs(clip.frames.astype(int) - wanted.frames).max() <= 1
        np.testing.assert_allclose(clip.waveform, wanted.waveform, atol=1e-5)


@pytest.mark.parametrize("role", ROLES)
def test_evaluate_judges_the_role(run: Run, tmp_path: Path, role: str) -> None:
    arguments = ["evaluate", run.folder, "--prompts", run.prompt_file(tmp_path), "--samples", SAMPLES, "--role", role]
    arguments += ["--steps", SAMPLING_STEPS, "--seed", SEED, "--out", tmp_path / "found.json"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["role"] == role and found["step"] == 1
    judges = {"picture": (picture, "prompt_v"), "sound": (sound, "prompt_a"), "sync": (sync, "prompt_av")}
    for name, (judge, words) in judges.items():
        wanted = [
            judge(clip.frames, clip.fps, clip.waveform, clip.sample_rate, getattr(run.prompts[i // SAMPLES], words))
            for i, clip in enumerate(run.clips[role])
        ]
        assert found["metrics"][name]["values"] == pytest.approx(wanted, abs=2e-3)


@pytest.mark.parametrize("role", ROLES)
def test_sample_writes_the_role(run: Run, tmp_path: Path, role: str) -> None:
    arguments = ["sample", run.folder, "--prompts", run.prompt_file(tmp_path), "--samples", SAMPLES, "--role", role]
    arguments += ["--steps", SAMPLING_STEPS, "--seed", SEED, "--out", tmp_path / "clips"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    for index in range(2 * SAMPLES):
        written = frames(tmp_path / "clips" / f"{index // SAMPLES:05d}-{index % SAMPLES}.mp4")
        off = {
            (other, number): np.abs(written - clip.frames).mean()
            for other in ROLES
            for number, clip in enumerate(run.clips[other])
        }
        assert min(off, key=lambda key: off[key]) == (role, index)  # the file is coded with loss


@pytest.mark.parametrize("scale", ["nan", "inf"])
def test_guidance_that_is_no_number_is_refused(run: Run, tmp_path: Path, scale: str) -> None:
    out = tmp_path / "clips"
    arguments = ["sample", str(run.folder), "--limit", "1", "--out", str(out), "--guidance", scale, "1"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UsageError) and "must be finite" in str(result.exception)
    assert not out.exists()


def frames(path: Path) -> NDArray[np.float64]:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(float)
