"""The frozen network in 8 bits: close to what it was, and adapters learn on it as before."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_ltx2 import load_case, step_loss, stir
from tiny_ltx2_run import ltx2_config, save_material
from tiny_pipeline import load_tiny, save_tiny_pipeline
from tiny_training import assert_equal, log, run

from omninft_train.errors import EnvironmentProblem
from omninft_train.models import quantize
from omninft_train.models.latents import Latents
from omninft_train.models.lora import adapter_shapes
from omninft_train.models.policy import LoraPolicy

TORCHAO = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="the session slow installs the extra quantize"
)


def policy_of(name: str, eight: bool) -> LoraPolicy:
    case = load_case(name)
    network: Any = case.transformer().to(torch.bfloat16)
    if eight:
        network = quantize.quantized(network, "int8", "cpu")
    policy = LoraPolicy(network, case.geometry, rank=4, alpha=8)
    stir(dict(policy.trainable()), 0.05)
    return policy


def flat(latents: Latents) -> torch.Tensor:
    return torch.cat([latents.video.detach().float().flatten(), latents.audio.detach().float().flatten()])


@pytest.mark.slow
@TORCHAO
@pytest.mark.parametrize("name", ["ltx2", "ltx23"])
def test_roles_and_gradients_are_nearly_those_of_the_whole_network(name: str) -> None:
    case = load_case(name)
    whole, eight = policy_of(name, False), policy_of(name, True)
    for role in ("policy", "old", "reference"):
        wanted, found = (flat(policy.velocity(role, case.x, case.t, case.condition)) for policy in (whole, eight))
        assert 0 < float((found - wanted).norm() / wanted.norm()) < 0.1
    gradients = []
    for policy in (whole, eight):
        step_loss(policy.velocity("policy", case.x, case.t, case.condition), case).backward()
        taken = {key: p.grad for key, p in policy.trainable().items() if p.grad is not None}
        assert taken.keys() == policy.trainable().keys()
        gradients.append(torch.cat([value.flatten() for value in taken.values()]))
    assert float(torch.nn.functional.cosine_similarity(*gradients, dim=0)) > 0.97


@pytest.mark.slow
@TORCHAO
def test_exactly_the_layers_below_adapters_take_a_byte_for_each_weight() -> None:
    network: Any = load_case("ltx23").transformer().to(torch.bfloat16)
    plain = {name: layer.weight for name, layer in network.named_modules() if isinstance(layer, torch.nn.Linear)}
    layers = {name.rpartition(".lora_")[0] for name in adapter_shapes(network, 1)}
    quantize.quantized(network, "int8", "cpu")
    changed = {name for name, weight in plain.items() if network.get_submodule(name).weight is not weight}
    assert changed == layers and len(layers) == 6 * 28
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.slow
@TORCHAO
def test_a_pipeline_is_loaded_quantised(tmp_path: Path) -> None:
    folder = save_tiny_pipeline(tmp_path / "pipeline", "2.3")
    plain, eight = (load_tiny(folder, tmp_path / "cache", dtype="bfloat16", quantize=how) for how in ("none", "int8"))
    assert eight.digest == plain.digest  # a LoRA of one is one of the other
    layer: Any = eight.transformer.get_submodule("transformer_blocks.0.attn1.to_q")
    assert type(layer.weight) is not torch.nn.Parameter
    assert len(eight.decode(eight.geometry.noise([1]))) == 1


def test_without_torchao_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match=r"needs torchao.*pip install 'avbench\[train,quantize\]'"):
        quantize.quantized(load_case("ltx2").transformer(), "int8", "cpu")


@pytest.mark.slow
@TORCHAO
def test_it_is_trained_through_the_loop_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    folder = save_material(tmp_path / "material")
    changes = ("backbone.quantize=int8", "backbone.dtype=bfloat16", "sampling.steps=3")
    whole = run(ltx2_config(folder, *changes), tmp_path / "whole")
    assert all(torch.isfinite(tensor).all() for tensor in whole.values())
    assert log(tmp_path / "whole")[1]["distance_old"] > 0
    other = run(ltx2_config(folder, *changes, "backbone.quantize=none"), tmp_path / "other")
    assert any(not torch.equal(whole[name], tensor) for name, tensor in other.items())  # 8 bits were in force
    run(ltx2_config(folder, *changes, "run.steps=1"), tmp_path / "parts")
    assert_equal(run(ltx2_config(folder, *changes), tmp_path / "parts"), whole)
