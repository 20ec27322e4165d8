"""A LoRA to start from: every layout that is exported, and what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_ltx2 import load_case, stir
from torch import Tensor

from omninft_train.errors import UsageError
from omninft_train.models.adapter_files import (
    COMFYUI_FILE,
    LORA_FILE,
    PEFT_CONFIG,
    PEFT_FILE,
    AdapterFile,
    read_adapter,
    start_of,
)
from omninft_train.models.lora import adapter_shapes
from omninft_train.models.policy import LoraPolicy

RANK, ALPHA, BASE = 4, 12, "0123456789abcdef"


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """A trained policy's, by the names of the network."""
    case = load_case("ltx2")
    policy = LoraPolicy(case.shallow(), case.geometry, rank=RANK, alpha=ALPHA)
    stir(dict(policy.trainable()))
    return policy.full(policy.trainable())


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[int, int]]:
    return adapter_shapes(load_case("ltx2").shallow(), RANK)


Save = Callable[[dict[str, Tensor], Path], None]


def save_diffusers(tensors: dict[str, Tensor], folder: Path, **more: Any) -> None:
    facts = {f"transformer.{key}": value for key, value in ({"r": RANK, "lora_alpha": ALPHA} | more).items()}
    named = {f"transformer.{name}": tensor for name, tensor in tensors.items()}
    save_file(named, folder / LORA_FILE, {"lora_adapter_metadata": json.dumps(facts), "base_architecture": BASE})


def save_peft(tensors: dict[str, Tensor], folder: Path, **more: Any) -> None:
    (folder / PEFT_CONFIG).write_text(json.dumps({"r": RANK, "lora_alpha": ALPHA} | more))
    save_file({f"base_model.model.{name}": tensor for name, tensor in tensors.items()}, folder / PEFT_FILE)


def save_comfyui(tensors: dict[str, Tensor], folder: Path, alphas: tuple[float, ...] = (ALPHA,)) -> None:
    modules = sorted(name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight"))
    scales = {f"{module}.alpha": torch.tensor(alphas[i % len(alphas)]) for i, module in enumerate(modules)}
    save_file({f"diffusion_model.{name}": part for name, part in (tensors | scales).items()}, folder / COMFYUI_FILE)


def save_release(tensors: dict[str, Tensor], folder: Path) -> None:
    """A checkpoint of the release: the policy in "lora", the old policy in "lora_old"."""
    for name, factor in (("lora", 1.0), ("lora_old", 0.5)):
        (folder / name).mkdir()
        save_peft({key: factor * value for key, value in tensors.items()}, folder / name)


LAYOUTS = pytest.mark.parametrize("save", [save_diffusers, save_peft, save_comfyui, save_release])


def start(path: Path, shapes: dict[str, tuple[int, int]], alpha: int = ALPHA) -> AdapterFile:
    return start_of(path, shapes, alpha, BASE)


@LAYOUTS
def test_every_layout_gives_the_same_weights(
    save: Save, tensors: dict[str, Tensor], shapes: dict[str, tuple[int, int]], tmp_path: Path
) -> None:
    save(tensors, tmp_path)
    found = start(tmp_path, shapes)
    assert found.alpha == ALPHA and len(found.digest) == 64
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())
    assert start(found.path, shapes).digest == found.digest  # the file itself


def test_without_alpha_it_is_the_rank_as_loaders_take_it(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    for prefix, name in (("transformer", LORA_FILE), ("diffusion_model", COMFYUI_FILE)):
        path = tmp_path / name
        save_file({f"{prefix}.{key}": tensor for key, tensor in tensors.items()}, path)
        assert read_adapter(path).alpha == RANK


def test_peft_says_alpha_in_its_configuration_alone(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_peft(tensors, tmp_path)
    (tmp_path / PEFT_CONFIG).unlink()
    with pytest.raises(UsageError, match=r"adapter_config\.json cannot be read .* Put it beside the weights"):
        read_adapter(tmp_path)
    (tmp_path / PEFT_CONFIG).write_text("{")
    with pytest.raises(UsageError, match=r"adapter_config\.json is damaged"):
        read_adapter(tmp_path)


@LAYOUTS
def test_another_rank_or_alpha_is_refused_with_the_cure(save: Save, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save(tensors, tmp_path)
    wider = adapter_shapes(load_case("ltx2").shallow(), 2 * RANK)
    with pytest.raises(UsageError, match=r"has rank 4, and policy\.rank is 8\. Set policy\.rank=4\."):
        start(tmp_path, wider)
    right = adapter_shapes(load_case("ltx2").shallow(), RANK)
    with pytest.raises(UsageError, match=r"has alpha 12, and policy\.alpha is 64\. Set policy\.alpha=12\."):
        start(tmp_path, right, alpha=64)


@LAYOUTS
def test_unknown_and_missing_tensors_are_named(
    save: Save, tensors: dict[str, Tensor], shapes: dict[str, tuple[int, int]], tmp_path: Path
) -> None:
    name = "transformer_blocks.0.attn1.to_q.lora_A.weight"
    more, fewer, deeper = tmp_path / "more", tmp_path / "fewer", tmp_path / "deeper"
    for folder in (more, fewer, deeper):
        folder.mkdir()
    gate = {f"transformer_blocks.0.attn1.to_gate_logits.lora_{part}.weight": torch.zeros(2, 2) for part in "AB"}
    save(tensors | gate, more)
    with pytest.raises(UsageError, match=r"holds 2 tensors that this policy has no layer for.*to_gate_logits"):
        start(more, shapes)
    save(
        {key: tensor for key, tensor in tensors.items() if not key.startswith("transformer_blocks.0.attn1.to_q.")},
        fewer,
    )
    with pytest.raises(UsageError, match=f"lacks 2 of {len(shapes)} tensors, for example {name}"):
        start(fewer, shapes)
    save({key.replace("blocks.0.", "blocks.9."): tensor for key, tensor in tensors.items()}, deeper)
    with pytest.raises(UsageError, match="no layer for"):
        start(deeper, shapes)


def test_a_lora_for_other_widths_or_another_base_is_refused(
    tensors: dict[str, Tensor], shapes: dict[str, tuple[int, int]], tmp_path: Path
) -> None:
    name = "transformer_blocks.0.attn1.to_q.lora_A.weight"
    save_diffusers(tensors | {name: torch.zeros(RANK, 3)}, tmp_path)
    with pytest.raises(UsageError, match=rf"{name} has shape \(4, 3\).* for another base"):
        start(tmp_path, shapes)
    save_diffusers(tensors, tmp_path)
    with pytest.raises(UsageError, match=f"another base .architecture {BASE}. than this backbone .architecture other"):
        start_of(tmp_path, shapes, ALPHA, "other")


@pytest.mark.parametrize(
    "odd", [{"use_rslora": True}, {"use_dora": True}, {"rank_pattern": {"to_q": 8}}, {"alpha_pattern": {"to_q": 8}}]
)
@pytest.mark.parametrize("save", [save_diffusers, save_peft])
def test_other_ways_to_scale_are_refused(
    save: Callable[..., None], odd: dict[str, Any], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    save(tensors, tmp_path, **odd)
    with pytest.raises(UsageError, match=rf"has {next(iter(odd))}; .* Merge it into the base"):
        read_adapter(tmp_path)


def test_layers_of_different_scales_are_refused(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_comfyui(tensors, tmp_path, (ALPHA, 4.0))
    with pytest.raises(UsageError, match="different scales"):
        read_adapter(tmp_path)
    content = load_file(tmp_path / COMFYUI_FILE)
    last = max(name for name in content if name.endswith(".alpha"))
    save_comfyui(tensors, tmp_path)
    save_file({key: part for key, part in load_file(tmp_path / COMFYUI_FILE).items() if key != last}, tmp_path / "x")
    with pytest.raises(UsageError, match="different scales"):
        read_adapter(tmp_path / "x")


def test_what_is_no_lora_is_refused(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no file, nor a folder with"):
        read_adapter(tmp_path / "nowhere")
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(UsageError, match="cannot be read"):
        read_adapter(tmp_path / "text")
    save_file(tensors, tmp_path / "policy.safetensors")  # as a checkpoint of a run has it: says nothing of alpha
    with pytest.raises(UsageError, match=r"is no LoRA in the layout of diffusers, peft or ComfyUI.*export"):
        read_adapter(tmp_path / "policy.safetensors")
    save_diffusers(tensors, tmp_path)
    save_comfyui(tensors, tmp_path)
    with pytest.raises(UsageError, match=r"holds 2 LoRAs. Name the file"):
        read_adapter(tmp_path)
