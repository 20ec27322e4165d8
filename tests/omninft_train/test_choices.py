"""`--step`, `--role` and `--seed` reach what a command does: its result is that of the library with the same choice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tiny_training import make, tiny_config, tiny_weights
from typer.testing import CliRunner

from omninft_train.cli import app
from omninft_train.errors import UsageError
from omninft_train.evaluate import group_rewards
from omninft_train.export import ExportOptions, export
from omninft_train.generate import Generation, load_trained, sample_clips
from omninft_train.miniature.world import training_prompts
from omninft_train.training import saving
from omninft_train.training.rollout import Guidance

PROMPTS = training_prompts()[:1]
FEW = ("--prompts", "1", "--group-size", "2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapters of two steps, the later ones further from where they began; old ones lag behind."""
    folder = tmp_path_factory.mktemp("run")
    lora = ("policy.parameters=lora", "policy.rank=2")
    training = make(tiny_config(tiny_weights(folder / "weights"), *lora), folder)
    for step in (1, 2):
        training.policy.update_old(0.5)
        with torch.no_grad():
            for parameter in training.policy.trainable().values():
                parameter.add_(0.1)
        saving.save(training, step)
    return folder


def command(name: str, run: Path, out: Path, *options: str) -> Path:
    found = CliRunner().invoke(app, [name, str(run), "--out", str(out), *options])
    assert found.exit_code == 0, found.output
    return out


@pytest.mark.long
def test_conflicts_takes_step_role_and_seed(run: Path, tmp_path: Path) -> None:
    usual: Mapping[str, Any] = {"step": 2, "role": "policy", "seed": 0}
    seen = []
    for change in ({}, {"step": 1}, {"role": "reference"}, {"role": "old"}, {"seed": 7}):
        chosen = {**usual, **change}
        trained = load_trained(run, step=chosen["step"])
        sampling = trained.config.sampling
        how = Generation(chosen["role"], 2, sampling.steps, sampling.guidance, chosen["seed"], sampling.batch)
        wanted = group_rewards(trained, PROMPTS, how, tmp_path / "wanted" / f"{len(seen)}.json")
        options = [part for key, value in change.items() for part in (f"--{key}", str(value))]
        found = json.loads(command("conflicts", run, tmp_path / "found.json", *FEW, *options).read_text())
        assert wanted is not None
        assert found["values"] == [pytest.approx(row, abs=1e-3) for row in wanted["values"]]
        seen.append(np.array(wanted["values"]))
    assert all(np.abs(one - other).max() > 3e-3 for one, other in combinations(seen, 2))


def test_evaluate_takes_a_step(run: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text(json.dumps(asdict(PROMPTS[0])))
    few = ("--prompts", str(tmp_path / "prompts.jsonl"), "--samples", "1", "--steps", "2")
    last, first, other = (
        json.loads(command("evaluate", run, tmp_path / f"{number}.json", *few, *options).read_text())
        for number, options in enumerate(((), ("--step", "1"), ("--seed", "3")))
    )
    assert (last["step"], first["step"], other["step"]) == (2, 1, 2)
    assert first["metrics"] != last["metrics"] != other["metrics"]


def test_sample_takes_a_step(run: Path, tmp_path: Path) -> None:
    found = command("sample", run, tmp_path / "found", "--step", "1", "--steps", "2", "--limit", "1")
    how = Generation("policy", 1, 2, Guidance(1.0, 1.0, 0.0, ()), 0, 1)
    off = []
    for step in (1, 2):
        sample_clips(tmp_path / str(step), load_trained(run, step=step), PROMPTS, how)
        off.append(np.abs(frames(tmp_path / str(step)) - frames(found)).mean())
    assert off[0] < off[1] / 2  # files are coded with loss, and rounding alone may move a pixel
    assert "policy-step-1" in (found / "manifest.csv").read_text()


def test_export_takes_a_step(run: Path, tmp_path: Path) -> None:
    found = command("export", run, tmp_path / "found", "--format", "peft", "--step", "1")
    options = ExportOptions("peft", step=1)
    first, last = (export(run, tmp_path / str(one.step), one) for one in (options, replace(options, step=None)))
    wanted, same, other = (load_file(folder / "adapter_model.safetensors") for folder in (first, found, last))
    assert same.keys() == wanted.keys() and all(torch.equal(same[name], wanted[name]) for name in wanted)
    assert any(not torch.equal(other[name], wanted[name]) for name in wanted)


def frames(folder: Path) -> NDArray[np.float64]:
    with av.open(str(folder / "00000-0.mp4")) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(float)


@pytest.mark.parametrize("name", ["sample", "evaluate", "conflicts"])
def test_a_run_works_where_its_base_was_moved(name: str, run: Path, tmp_path: Path) -> None:
    base = Path(load_trained(run).config.backbone.path)
    moved = shutil.move(base, tmp_path / "moved")
    few = {"sample": ("--limit", "1", "--steps", "1"), "conflicts": FEW}
    few["evaluate"] = ("--prompts", str(one_prompt(tmp_path)), "--samples", "1", "--steps", "1")
    try:
        out = tmp_path / f"{name}.json"
        found = CliRunner().invoke(app, [name, str(run), "--out", str(out), *few[name]])
        assert isinstance(found.exception, UsageError) and str(base) in str(found.exception)
        command(name, run, out, *few[name], "--set", f"backbone.path={moved}")
        found = CliRunner().invoke(app, [name, str(run), "--out", str(out), "--set", "backbone.pth=nowhere"])
        told = str(found.exception)
        assert isinstance(found.exception, UsageError) and "--set backbone.pth=nowhere" in told and "mean path" in told
    finally:
        shutil.move(moved, base)


def one_prompt(folder: Path) -> Path:
    path = folder / "one.jsonl"
    path.write_text(json.dumps(asdict(PROMPTS[0])) + "\n")
    return path


def test_evaluate_takes_the_prompts_of_the_run_and_a_guidance(run: Path, tmp_path: Path) -> None:
    few = ("--samples", "1", "--steps", "1", "--set", f"evaluation.prompts={one_prompt(tmp_path)}")
    plain, guided = (
        json.loads(command("evaluate", run, tmp_path / f"{scale}.json", *few, "--guidance", scale, "1").read_text())
        for scale in ("1", "4")
    )
    assert plain["prompts"] == guided["prompts"] == [PROMPTS[0].prompt_av]
    assert (plain["guidance"][:2], guided["guidance"][:2]) == ([1.0, 1.0], [4.0, 1.0])
    assert plain["metrics"] != guided["metrics"]
