from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LTX2Pipeline, LTX2VideoTransformer3DModel
from safetensors import safe_open
from tiny_ltx2 import NAMES, load_case, stir
from tiny_pipeline import load_tiny, save_tiny_pipeline

from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.export import LORA_FILE, export, save_lora, save_transformer
from omninft_train.models.latents import Condition, Geometry, Latents
from omninft_train.models.ltx2 import Ltx2Backbone
from omninft_train.models.policy import FullPolicy, LoraPolicy, Policy
from omninft_train.models.velocity import predict

RANK, ALPHA = 4, 12
Inputs = tuple[Latents, torch.Tensor, Condition]


def lora(transformer: Any, geometry: Geometry) -> LoraPolicy:
    """Trained a little: policy, old policy and reference differ."""
    policy = LoraPolicy(transformer, geometry, rank=RANK, alpha=ALPHA)
    stir(dict(policy.trainable()))
    return policy


def full(transformer: Any, geometry: Geometry) -> FullPolicy:
    policy = FullPolicy(transformer, geometry)
    stir(dict(policy.trainable()), 0.05)
    return policy


KINDS = pytest.mark.parametrize("make", [lora, full])
Make = Callable[[Any, Geometry], Policy]


def tiny(make: Make, name: str = "ltx2") -> Policy:
    case = load_case(name)
    return make(case.transformer(), case.geometry)


def velocity(policy: Policy, inputs: Inputs, role: Any = "policy") -> Latents:
    return policy.velocity(role, *inputs).map(torch.Tensor.detach)


def velocity_of(transformer: Any, geometry: Geometry, inputs: Inputs) -> Latents:
    """Of a network that knows nothing of policies."""
    with torch.no_grad():
        return Latents(*predict(transformer.eval(), geometry, *inputs, skip_blocks=()))


def distance(a: Latents, b: Latents) -> float:
    return max(float((a.video - b.video).abs().max()), float((a.audio - b.audio).abs().max()))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module", params=["2.0", "2.3"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline on the disk, as a user has one."""
    return save_tiny_pipeline(tmp_path_factory.mktemp("pipeline") / "ltx2", request.param)


def trained(saved: Path, cache: Path) -> tuple[Ltx2Backbone, LoraPolicy, Inputs]:
    """The pipeline loaded for training, its policy, and something to run both on."""
    backbone = load_tiny(saved, cache)
    noise, condition = backbone.geometry.noise([1, 2]), backbone.condition(["a dog barks", "rain"])
    return backbone, lora(backbone.transformer, backbone.geometry), (noise, torch.tensor([0.9, 0.3]), condition)


def test_a_lora_loads_into_the_pipeline(saved: Path, tmp_path: Path) -> None:
    """By diffusers alone: the velocities are the policy's, and the scale is alpha over rank."""
    backbone, policy, inputs = trained(saved, tmp_path / "cache")
    assert save_lora(policy, tmp_path / "lora") == tmp_path / "lora"
    pipeline = LTX2Pipeline.from_pretrained(saved)
    before = velocity_of(pipeline.transformer, backbone.geometry, inputs)
    assert distance(before, velocity(policy, inputs, "reference")) < 1e-5
    pipeline.load_lora_weights(tmp_path / "lora", adapter_name="trained")
    config = pipeline.transformer.peft_config["trained"]
    assert (config.r, config.lora_alpha) == (RANK, ALPHA)
    assert pipeline.transformer.transformer_blocks[0].attn1.to_q.scaling == {"trained": ALPHA / RANK}
    found, wanted = velocity_of(pipeline.transformer, backbone.geometry, inputs), velocity(policy, inputs)
    assert distance(wanted, before) > 0.05
    assert distance(found, wanted) < 1e-5
    pipeline.fuse_lora()
    assert distance(velocity_of(pipeline.transformer, backbone.geometry, inputs), wanted) < 1e-4


def test_without_its_alpha_the_lora_would_be_another(saved: Path, tmp_path: Path) -> None:
    """Why the file carries it: the loader takes alpha for equal to the rank, and here it is three times that."""
    backbone, policy, inputs = trained(saved, tmp_path / "cache")
    save_lora(policy, tmp_path / "lora")
    pipeline = LTX2Pipeline.from_pretrained(saved)
    pipeline.load_lora_weights(LTX2Pipeline.lora_state_dict(tmp_path / "lora"))
    found = velocity_of(pipeline.transformer, backbone.geometry, inputs)
    assert distance(found, velocity(policy, inputs)) > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_the_lora_file_holds_the_policy_alone(name: str, tmp_path: Path) -> None:
    policy = tiny(lora, name)
    export(policy, tmp_path)
    with safe_open(tmp_path / LORA_FILE, "pt") as file:
        found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        facts = json.loads(file.metadata()["lora_adapter_metadata"])
    wanted = {f"transformer.{key}": value for key, value in policy.trainable().items()}
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) and found[key].dtype == torch.float32 for key in found)
    assert facts["transformer.lora_alpha"] == ALPHA and facts["transformer.r"] == RANK
    names = tuple(f".{target}" for target in facts["transformer.target_modules"])
    layers = {key.rpartition(".lora_")[0] for key in policy.trainable()}
    # The loader makes layers where a name ends so: exactly those that were trained.
    assert {key for key, _ in load_case(name).transformer().named_modules() if key.endswith(names)} == layers


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_network_loads_again(name: str, tmp_path: Path) -> None:
    case = load_case(name)
    policy = full(case.transformer(), case.geometry)
    assert save_transformer(policy, tmp_path / "network") == tmp_path / "network"
    network = LTX2VideoTransformer3DModel.from_pretrained(tmp_path / "network")
    inputs = (case.x, case.t, case.condition)
    wanted = velocity(policy, inputs)
    assert distance(velocity_of(network, case.geometry, inputs), wanted) == 0
    assert distance(velocity(policy, inputs, "reference"), wanted) > 0.01
    state = network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in policy.trainable().items())


@KINDS
def test_an_export_replaces_the_one_before(make: Make, tmp_path: Path) -> None:
    policy = tiny(make)
    folder = tmp_path / "not" / "yet" / "there"
    assert export(policy, folder) == folder
    first = content(folder)
    assert len(first) == (1 if make is lora else 2)
    part = "diffusion_pytorch_model-00001-of-00002.safetensors"
    (folder / "notes.txt").write_text("mine")
    (folder / part).write_text("of a larger network")
    stir(dict(policy.trainable()))
    export(policy, folder)
    second = content(folder)
    assert second.keys() == first.keys() | {"notes.txt"} | ({part} if make is lora else set())
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {name for name in first if name.endswith(".safetensors")}


def test_a_policy_of_another_kind_is_refused(tmp_path: Path) -> None:
    other: Any = object()
    with pytest.raises(UsageError, match="object cannot be exported; expected LoraPolicy or FullPolicy"):
        export(other, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@KINDS
def test_a_file_in_place_of_the_folder_is_wrong_usage(make: Make, tmp_path: Path) -> None:
    policy = tiny(make)
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="out is a file; the weights need a folder"):
        export(policy, tmp_path / "out")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        export(policy, tmp_path / "out" / "below")
    assert (tmp_path / "out").read_text() == "mine"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system refuses to let a file grow beyond a size, in the middle of a write, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@KINDS
def test_a_full_disk_leaves_what_was_there(make: Make, tmp_path: Path) -> None:
    policy = tiny(make)
    export(policy, tmp_path / "out")
    before = content(tmp_path / "out")
    stir(dict(policy.trainable()))
    for folder in (tmp_path / "out", tmp_path / "new"):
        with largest_file(10_000), pytest.raises(EnvironmentProblem) as caught:
            export(policy, folder)
        message = str(caught.value)
        assert (
            message.startswith(f"{folder}: the weights cannot be written (")
            and "Free space or name another folder" in message
        )
        assert caught.value.exit_code == 4
    assert content(tmp_path / "out") == before
    assert not (tmp_path / "new").exists()
