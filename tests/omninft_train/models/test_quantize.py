"""The frozen network in 8 bits: close to what it was, and adapters learn on it as before."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from joined_worker import work_off
from quantized_job import codes, load_eight
from tiny_ltx2 import load_case, step_loss, stir
from tiny_ltx2_run import ltx2_changes, ltx2_config, save_material
from tiny_pipeline import load_tiny, save_tiny_pipeline
from tiny_training import assert_close, assert_equal, log, run, tensors

from omninft_train.errors import EnvironmentProblem
from omninft_train.models import loading, quantize
from omninft_train.models.latents import Latents
from omninft_train.models.lora import adapter_shapes
from omninft_train.models.policy import LoraPolicy

TORCHAO = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="the session slow installs the extra quantize"
)


def in_eight_bits(network: Any) -> Any:
    """The network loaded again from its files."""
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(folder)
        return load_eight(Path(folder))


def policy_of(name: str, eight: bool) -> LoraPolicy:
    case = load_case(name)
    network: Any = case.transformer().to(torch.bfloat16)
    if eight:
        network = in_eight_bits(network)
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
    layers = {f"{name.rpartition('.lora_')[0]}.weight" for name in adapter_shapes(network, 1)}
    eight = in_eight_bits(network)
    assert not any(parameter.requires_grad for parameter in eight.parameters())
    wanted, found = network.state_dict(), eight.state_dict()
    assert found.keys() == wanted.keys()
    assert {name for name, tensor in found.items() if type(tensor) is not torch.Tensor} == layers
    assert len(layers) == 6 * 28
    for name, tensor in wanted.items():
        if name not in layers:
            assert torch.equal(found[name], tensor), name
            continue
        step = tensor.float().abs().amax(dim=1, keepdim=True) / 127  # of each row
        error = (found[name].dequantize().float() - tensor.float()).abs()
        assert bool((error <= step).all()), name


@pytest.mark.slow
@TORCHAO
def test_a_pipeline_is_loaded_quantised(tmp_path: Path) -> None:
    folder = save_tiny_pipeline(tmp_path / "pipeline", "2.3")
    plain, eight = (load_tiny(folder, tmp_path / "cache", dtype="bfloat16", quantize=how) for how in ("none", "int8"))
    assert eight.digest == plain.digest  # a LoRA of one is one of the other
    layer: Any = eight.transformer.get_submodule("transformer_blocks.0.attn1.to_q")
    assert type(layer.weight) is not torch.nn.Parameter
    assert len(eight.decode(eight.geometry.noise([1]))) == 1


@pytest.mark.slow
@TORCHAO
def test_one_process_of_a_node_reads_for_all(tmp_path: Path) -> None:
    """And all hold what one that reads for itself does."""
    folder = save_tiny_pipeline(tmp_path / "pipeline", "2.3") / "transformer"
    job = {"job": "quantized_job:load_in_eight_bits", "folder": str(folder), "out": str(tmp_path / "found")}
    work_off([job], tmp_path / "work", size=4, node_size=2)
    with mock.patch.object(loading, "safe_open", wraps=loading.safe_open) as opened:
        wanted = codes(load_eight(folder))
    assert opened.call_count == 1
    for rank in range(4):
        found = torch.load(f"{job['out']}-{rank}.pt")
        assert found["opened"] == (0 if rank % 2 else 1)
        assert_equal(found["codes"], wanted)


def test_without_torchao_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentProblem, match=r"needs torchao.*pip install 'avbench\[train,quantize\]'"):
        quantize.load_quantized(load_case("ltx2").transformer(), "int8", Path(), "cpu")


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


@pytest.mark.slow
@TORCHAO
def test_two_processes_train_it_as_one_does(tmp_path: Path) -> None:
    folder = save_material(tmp_path / "material")
    changes = ["backbone.quantize=int8", "backbone.dtype=bfloat16"]
    changes += ["sampling.steps=3", "run.steps=1", "optimizer.eps=1e-4"]
    out = tmp_path / "joined"
    job = {"recipe": "omninft", "backbone": "ltx2", "changes": ltx2_changes(folder) + changes, "out": str(out)}
    work_off([{"job": "joined_worker:run_training", **job}], tmp_path / "work", size=2, node_size=2)
    assert_close(tensors(out), run(ltx2_config(folder, *changes), tmp_path / "alone"))
