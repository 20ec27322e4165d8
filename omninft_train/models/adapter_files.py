"""LoRA files to start from, in the layouts of diffusers, peft (so the release of OmniNFT) and ComfyUI."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from omninft_train.errors import SettingError

LORA_FILE = "pytorch_lora_weights.safetensors"
COMFYUI_FILE = "comfyui_lora.safetensors"
PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_FILES = (LORA_FILE, PEFT_FILE, COMFYUI_FILE)
_RELEASE = "lora"  # of a checkpoint of the release; beside it is "lora_old"
_PREFIXES = ("transformer.", "base_model.model.", "diffusion_model.")
_A, _B, _ALPHA = ".lora_A.weight", ".lora_B.weight", ".alpha"
# What scales a LoRA otherwise than alpha / rank for all layers.
_OTHERWISE = ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern")


@dataclass(frozen=True)
class AdapterFile:
    """A LoRA as a file has it.

    Attributes:
        tensors: A (r, in) and B (out, r), as "<module>.lora_A.weight", and whatever else the file holds.
        alpha: the product is scaled by alpha / r.
        architecture: identity of the base that it was trained on; None where the file does not say.
        digest: SHA-256 of the file.
    """

    path: Path
    tensors: dict[str, Tensor]
    alpha: float
    architecture: str | None
    digest: str


def start_of(path: Path, shapes: Mapping[str, tuple[int, ...]], alpha: int, architecture: str) -> AdapterFile:
    """A LoRA to start from that fits a policy in every respect.

    Args:
        path: a file, or a folder that holds one; of a checkpoint of the release, its folder "lora".
        shapes: of the policy's tensors, by name.
        alpha: of the policy.
        architecture: identity of the policy's base.

    Raises:
        UsageError: it cannot be read, or anything of it does not fit; the message says what to do.
    """
    adapter = read_adapter(path)
    _check_names(adapter, shapes)
    _check_shapes(adapter, shapes)
    if adapter.alpha != alpha:
        raise _refused(
            f"{adapter.path} has alpha {adapter.alpha:g}, and policy.alpha is {alpha}. "
            f"Set policy.alpha={adapter.alpha:g}."
        )
    if adapter.architecture is not None and adapter.architecture != architecture:
        raise _refused(
            f"{adapter.path} was trained on another base (architecture {adapter.architecture}) than this "
            f"backbone (architecture {architecture}). Name a LoRA for this one, or its own base in backbone.path."
        )
    return adapter


def read_adapter(path: Path) -> AdapterFile:
    """A LoRA from a file, whichever of the layouts it has.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    file = _locate(path)
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except (OSError, SafetensorError) as error:
        raise _refused(f"{file} cannot be read ({error}). Name a LoRA in safetensors.") from error
    prefix = next((known for known in _PREFIXES if any(name.startswith(known) for name in tensors)), None)
    if prefix is None:
        raise _refused(
            f"{file} is no LoRA in the layout of diffusers, peft or ComfyUI. Of a run, name "
            "what 'omninft-train export' writes."
        )
    named = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    alphas = {name: float(named.pop(name)) for name in list(named) if name.endswith(_ALPHA)}
    alpha = _alpha(file, prefix, named, alphas, metadata)
    return AdapterFile(file, named, alpha, metadata.get("base_architecture"), digest)


def _locate(path: Path) -> Path:
    if path.is_file():
        return path
    for folder in (path, path / _RELEASE):
        there = [folder / name for name in _FILES if (folder / name).is_file()]
        if len(there) > 1:
            raise _refused(f"{folder} holds {len(there)} LoRAs. Name the file: {', '.join(_FILES)}.")
        if there:
            return there[0]
    raise _refused(
        f"{path} is no file, nor a folder with {', '.join(_FILES)}. Name a LoRA as 'omninft-train export' writes it."
    )


def _alpha(
    file: Path, prefix: str, tensors: Mapping[str, Tensor], alphas: Mapping[str, float], metadata: Mapping[str, str]
) -> float:
    """The one alpha of all layers. Where a file of diffusers or ComfyUI says nothing, their loaders take the rank."""
    rank = next((len(tensor) for name, tensor in tensors.items() if name.endswith(_A)), 0)
    if prefix == "base_model.model.":
        config = _json(file.with_name(PEFT_CONFIG))
    else:
        stated = _parsed(metadata.get("lora_adapter_metadata", "{}"), file)
        config = {key.removeprefix("transformer."): value for key, value in stated.items()}
    if odd := [key for key in _OTHERWISE if config.get(key)]:
        raise _refused(
            f"{file} has {', '.join(odd)}; only LoRAs of one rank, scaled by alpha / rank, can be "
            "started from. Merge it into the base instead, and name that in backbone.path."
        )
    modules = {name.removesuffix(_A) for name in tensors if name.endswith(_A)}
    if alphas and (len(set(alphas.values())) > 1 or {name.removesuffix(_ALPHA) for name in alphas} != modules):
        raise _refused(
            f"{file} gives its layers different scales (alpha). Merge it into the base instead, and name "
            "that in backbone.path."
        )
    return next(iter(alphas.values()), float(config.get("lora_alpha", rank)))


def _json(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _refused(
            f"{path} cannot be read ({error.strerror}), and only it has alpha. Put it beside the weights."
        ) from error
    return _parsed(text, path)


def _parsed(text: str, path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise _refused(f"{path} is damaged ({error}). Export the LoRA again.") from error
    return content if isinstance(content, Mapping) else {}


def _check_names(adapter: AdapterFile, shapes: Mapping[str, tuple[int, ...]]) -> None:
    unknown, missing = sorted(adapter.tensors.keys() - shapes.keys()), sorted(shapes.keys() - adapter.tensors.keys())
    if unknown:
        raise _refused(
            f"{adapter.path} holds {len(unknown)} tensors that this policy has no layer for, for example "
            f"{unknown[0]}. A LoRA on the layers that are trained here is needed, as 'omninft-train export' writes it."
        )
    if missing:
        raise _refused(
            f"{adapter.path} lacks {len(missing)} of {len(shapes)} tensors, for example {missing[0]}. A "
            "LoRA on all layers that are trained here is needed, for this number of blocks."
        )


def _check_shapes(adapter: AdapterFile, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        given = tuple(adapter.tensors[name].shape)
        side = 0 if name.endswith(_A) else 1
        if len(given) == 2 and given[1 - side] == shape[1 - side] and given[side] != shape[side]:
            raise _refused(
                f"{adapter.path} has rank {given[side]}, and policy.rank is {shape[side]}. "
                f"Set policy.rank={given[side]}."
            )
        if given != shape:
            raise _refused(
                f"{adapter.path}: {name} has shape {given}, and this policy's {shape}. It is for another "
                "base; name a LoRA for this one."
            )


def _refused(reason: str) -> SettingError:
    return SettingError(f"policy.init: {reason}", "policy.init")
