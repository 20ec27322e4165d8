"""`sample`, `evaluate` and `conflicts` in two joined processes (gloo) do what one process does, and share the work."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from command_worker import run_together
from tiny_training import make, tiny_config, tiny_weights
from typer.testing import CliRunner

from omninft_train.cli import app
from omninft_train.evaluation import read_evaluation
from omninft_train.miniature.world import training_prompts
from omninft_train.training import saving


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of spread weights whose policy, old policy and reference lie apart."""
    folder = tmp_path_factory.mktemp("run")
    sizes = ("run.shard=all", "sampling.batch=1", "prompts.group_size=3")
    training = make(tiny_config(tiny_weights(folder / "weights"), *sizes), folder)
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        with torch.no_grad():
            for parameter in training.policy.trainable().values():
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        training.policy.update_old(0.5)
    saving.save(training, 1)
    (folder / "prompts.jsonl").write_text("".join(json.dumps(asdict(p)) + "\n" for p in training_prompts()[:3]))
    return folder


def commands(run: Path, out: Path) -> list[list[object]]:
    """Three clips each, which do not divide by two."""
    prompts = ["--prompts", run / "prompts.jsonl", "--samples", 1, "--steps", 3]
    return [
        ["sample", run, "--out", out / "clips", *prompts, "--role", "policy"],
        ["evaluate", run, "--out", out / "scores.json", *prompts, "--role", "old"],
        ["conflicts", run, "--out", out / "conflicts.json", "--prompts", 1, "--role", "reference"],
    ]


@pytest.mark.long
def test_two_processes_do_what_one_does(run: Path, tmp_path: Path) -> None:
    """Of weights that none of them has whole; both sample equally often, so one clip is made twice."""
    one, both = tmp_path / "one", tmp_path / "both"
    for command in commands(run, one):
        done = CliRunner().invoke(app, list(map(str, command)))
        assert done.exit_code == 0, done.output
    for parts in run_together(commands(run, both), [tmp_path, tmp_path]):
        assert parts == [{"sampled": [1, 1], "error": ""}] * 2
    assert sorted(path.name for path in both.rglob("*")) == sorted(path.name for path in one.rglob("*"))
    assert (both / "clips" / "manifest.csv").read_bytes() == (one / "clips" / "manifest.csv").read_bytes()
    found, wanted = (read_evaluation(folder / "scores.json") for folder in (both, one))
    assert found.metrics.keys() == wanted.metrics.keys() and found.pairs_with(wanted)
    for name, metric in wanted.metrics.items():
        assert found.metrics[name].values == pytest.approx(metric.values, rel=1e-3), name
    assert found.sets == pytest.approx(wanted.sets, rel=1e-3)
    rows, whole = (rows_of(folder / "conflicts.json") for folder in (both, one))
    assert len(rows) == 3 and rows == [pytest.approx(row, rel=1e-3) for row in whole]


def rows_of(path: Path) -> list[list[float]]:
    content: dict[str, Any] = json.loads(path.read_text())
    assert content["groups"] == [0, 0, 0] and all(map(all, content["valid"]))
    values: list[list[float]] = content["values"]
    return values


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3), ids=["sample", "evaluate", "conflicts"])
def test_a_folder_that_is_not_shared_is_refused_before_anything_is_loaded(
    run: Path, tmp_path: Path, number: int
) -> None:
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()
    (parts,) = run_together([commands(run, Path("out"))[number]], folders)
    message = (
        "(--out) is not shared: process 1 cannot see what process 0 writes there. Name a folder that all nodes have"
    )
    assert any(message in part["error"] for part in parts) and all(part["error"] for part in parts)
    assert not any(part["sampled"] for part in parts)


@pytest.mark.slow
def test_a_run_that_is_none_leaves_no_folder_behind(tmp_path: Path) -> None:
    (parts,) = run_together([["sample", tmp_path / "nothing", "--out", tmp_path / "clips"]], [tmp_path, tmp_path])
    assert any("nothing" in part["error"] for part in parts) and all(part["error"] for part in parts)
    assert not (tmp_path / "clips").exists()
