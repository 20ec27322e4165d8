"""Weights that are read once per node and kept in shares are those that one process reads for itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from joined_worker import work_off
from loading_job import tiny_policy, weights_of
from safetensors.torch import load_file, save_file
from tiny_pipeline import save_tiny_pipeline

from omninft_train.errors import EnvironmentProblem
from omninft_train.models.loading import WEIGHTS, load_policy

SIZE, NODE_SIZE = 4, 2


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LTX-2.3; its transformer lies in several files, as the published one does."""
    folder = save_tiny_pipeline(tmp_path_factory.mktemp("pipeline") / "ltx2", "2.3")
    transformer = folder / "transformer"
    weights = load_file(transformer / WEIGHTS)
    (transformer / WEIGHTS).unlink()
    names = {name: f"part-{number % 2}.safetensors" for number, name in enumerate(sorted(weights))}
    for part in sorted(set(names.values())):
        save_file({name: weights[name] for name in names if names[name] == part}, transformer / part)
    (transformer / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prompts")


def assert_loaded(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    """Names, formats, and every bit."""
    assert found.keys() == wanted.keys()
    odd = [name for name in wanted if found[name].dtype != wanted[name].dtype or not found[name].equal(wanted[name])]
    assert not odd, odd[:5]


@pytest.mark.parametrize("parameters", ["lora", "full"])
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.long), "bfloat16"])
def test_one_process_gets_what_diffusers_loads(pipeline: Path, cache: Path, parameters: str, dtype: str) -> None:
    policy = tiny_policy(pipeline, cache, dtype, parameters, empty=True)
    named = [pair for network in policy.networks() for pair in network.named_parameters()]
    assert all(p.is_meta for name, p in named if ".lora_" not in name)
    load_policy(policy, pipeline / "transformer", "cpu", 1)
    plain = tiny_policy(pipeline, cache, dtype, parameters, empty=False)
    assert_loaded(weights_of(policy), weights_of(plain))
    taking = [{name for name, p in each.trainable().items() if p.requires_grad} for each in (policy, plain)]
    assert taking[0] == taking[1]


@pytest.mark.slow
def test_processes_share_what_the_first_of_each_node_reads(pipeline: Path, cache: Path, tmp_path: Path) -> None:
    cases = (("lora", NODE_SIZE), ("full", SIZE), ("lora", 1))
    jobs: list[dict[str, Any]] = [
        {"job": "loading_job:load_in_shares", "pipeline": str(pipeline), "cache": str(cache), "dtype": "bfloat16"}
        | {"parameters": parameters, "shards": shards, "out": str(tmp_path / f"{parameters}-{shards}")}
        for parameters, shards in cases
    ]
    work_off(jobs, tmp_path / "work", size=SIZE, node_size=NODE_SIZE)
    for job in jobs:
        wanted = weights_of(tiny_policy(pipeline, cache, "bfloat16", job["parameters"], empty=False))
        for rank in range(SIZE):
            found = torch.load(f"{job['out']}-{rank}.pt")
            assert_loaded(found["weights"], wanted)
            assert found["opened"] == (0 if rank % NODE_SIZE else 2)
            assert found["alike"]


@pytest.mark.long
def test_nodes_that_are_not_alike_share_one_reader(pipeline: Path, cache: Path, tmp_path: Path) -> None:
    """Two processes on one node and one on another: no process waits for one that is not told of it."""
    job = {"job": "loading_job:load_in_shares", "pipeline": str(pipeline), "cache": str(cache), "dtype": "bfloat16"}
    job |= {"parameters": "lora", "out": str(tmp_path / "found")}
    work_off([job | {"shards": 1}], tmp_path / "work", size=3, node_size=2, last_node=1)
    wanted = weights_of(tiny_policy(pipeline, cache, "bfloat16", "lora", empty=False))
    for rank in range(3):
        found = torch.load(f"{job['out']}-{rank}.pt")
        assert_loaded(found["weights"], wanted)
        assert found["opened"] == (0 if rank else 2)
        assert not found["alike"]


def changed(pipeline: Path, folder: Path, **tensors: torch.Tensor | None) -> Path:
    """The transformer as one file, with tensors replaced or left out."""
    weights = {}
    for part in (pipeline / "transformer").glob("part-*.safetensors"):
        weights |= load_file(part)
    for name, tensor in tensors.items():
        del weights[name]
        if tensor is not None:
            weights[name] = tensor
    save_file(weights, folder / "changed.safetensors")
    return folder / "changed.safetensors"


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [(None, "scale_shift_table is missing"), (torch.zeros(2, 3), r"scale_shift_table has shape \(2, 3\), expected")],
)
def test_a_weight_that_does_not_fit_is_named(
    pipeline: Path, cache: Path, tmp_path: Path, tensor: torch.Tensor | None, reason: str
) -> None:
    policy = tiny_policy(pipeline, cache, "float32", "lora", empty=True)
    with pytest.raises(EnvironmentProblem, match=f"changed.safetensors: the weights cannot be loaded .{reason}"):
        load_policy(policy, changed(pipeline, tmp_path, scale_shift_table=tensor), "cpu", 1)


def test_files_that_are_not_there_or_damaged_are_named(pipeline: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"nothing")
    for folder in (tmp_path / "none", tmp_path):
        policy = tiny_policy(pipeline, cache, "float32", "lora", empty=True)
        with pytest.raises(EnvironmentProblem, match=f"{folder}: the weights cannot be loaded"):
            load_policy(policy, folder, "cpu", 1)


def test_what_no_file_holds_is_not_left_undefined(pipeline: Path, cache: Path) -> None:
    policy = tiny_policy(pipeline, cache, "float32", "lora", empty=True)
    policy.networks()[0].register_buffer("scale", torch.ones(1))
    with pytest.raises(RuntimeError, match="has buffers or tied weights"):
        load_policy(policy, pipeline / "transformer", "cpu", 1)
