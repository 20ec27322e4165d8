"""Trained weights for other programs, made of a checkpoint's files alone: no network is built, no GPU is needed."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from omninft_train.config import Config
from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.files import rename
from omninft_train.generate import read_config
from omninft_train.models.adapter_files import COMFYUI_FILE, LORA_FILE, PEFT_CONFIG, PEFT_FILE
from omninft_train.models.loading import INDEX, weight_files
from omninft_train.models.lora import lora_config
from omninft_train.models.velocity import version
from omninft_train.training import checkpoint

Format = Literal["diffusers", "comfyui", "peft", "merged"]
Dtype = Literal["float32", "bfloat16", "float16"]

NETWORK_FILE, NETWORK_CONFIG = "diffusion_pytorch_model.safetensors", "config.json"
_A, _B = ".lora_A.weight", ".lora_B.weight"
_PARTIAL, _ABANDONED = ".partial-", 24 * 3600.0  # seconds without a new file, which no export takes


@dataclass(frozen=True)
class ExportOptions:
    """How weights are written.

    Attributes:
        format: "diffusers" for `load_lora_weights`, "comfyui" for its LoRA loader, "peft" for `PeftModel` and as the
            release saves its own, "merged" for a whole transformer with the LoRA added.
        dtype: number format; None as they are, float32 for a LoRA and the base's own when merged.
        base: folder or hub id of the pipeline that the weights are for; None for the one that was trained on.
        step: whose policy; None for the last one.
    """

    format: Format = "diffusers"
    dtype: Dtype | None = None
    base: str | None = None
    step: int | None = None


@dataclass(frozen=True)
class TrainedWeights:
    """What a checkpoint says of its policy.

    Attributes:
        config: of the run.
        meta: content of the checkpoint's meta.json.
        tensors: the policy's, by the names of the network; A and B of a LoRA as "<module>.lora_A.weight".
    """

    config: Config
    meta: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def is_lora(self) -> bool:
        """Whether adapters were trained, not the whole network."""
        return self.config.policy.parameters == "lora"

    @property
    def modules(self) -> list[str]:
        """Names of the layers that have an adapter."""
        return sorted(name.removesuffix(_A) for name in self.tensors if name.endswith(_A))


def export(run: Path, folder: Path, options: ExportOptions = ExportOptions()) -> Path:
    """Write the policy of a run; returns the folder.

    Raises:
        UsageError: no checkpoint, a format that does not fit what was trained, another base, or `folder` is a file.
        EnvironmentProblem: the base cannot be read or the folder cannot be written.
    """
    weights = read_weights(run, options.step)
    if not weights.is_lora and options.format in ("comfyui", "peft"):
        raise UsageError(
            f"{run} trained all parameters, so there is no LoRA for {options.format}. Choose --format diffusers."
        )
    if options.base is not None:
        check_base(weights, options.base)
    writers = {"diffusers": _write_diffusers, "comfyui": _write_comfyui, "peft": _write_peft, "merged": _write_merged}
    write = writers[options.format] if weights.is_lora else _write_network
    write(weights, folder, options)
    return folder


def read_weights(run: Path, step: int | None = None) -> TrainedWeights:
    """The policy of a step of a run; None for the last one.

    Raises:
        UsageError: no such checkpoint, or a damaged one.
    """
    path = checkpoint.find(run, step)
    meta = checkpoint.read_meta(path)
    return TrainedWeights(read_config(run, step), meta, checkpoint.read_part(path, meta, "policy"))


def check_base(weights: TrainedWeights, base: str) -> None:
    """Make sure that a base has the architecture that was trained on; two sets of its weights look alike here.

    Raises:
        UsageError: it has another one.
        EnvironmentProblem: it cannot be read.
    """
    if weights.config.backbone.kind != "ltx2":
        raise UsageError("only runs on LTX-2 have a base of this kind; leave it out (--base).")
    from omninft_train.models.ltx2 import CONFIG_FILES, config_digest, describe, locate

    network = describe(locate(base, CONFIG_FILES), ["transformer"])["transformer"]
    other = config_digest(network)
    if other != weights.meta["backbone_digest"]:
        raise UsageError(
            f"{base} is another base (LTX-{version(network.config)}, architecture {other}) than the one that was "
            f"trained on: {weights.config.backbone.path} ({base_version(weights)}, architecture "
            f"{weights.meta['backbone_digest']}). Name a pipeline of that version."
        )


def base_version(weights: TrainedWeights) -> str:
    """For example "LTX-2.3"."""
    if weights.config.backbone.kind != "ltx2":
        return weights.config.backbone.kind
    network = weights.meta.get("network")
    return f"LTX-{version(network)}" if network else "LTX of unknown version"


def _write_diffusers(weights: TrainedWeights, folder: Path, options: ExportOptions) -> None:
    """Rank and alpha go with it: without them the loader takes alpha for equal to the rank and scales wrongly."""
    adapter = {f"transformer.{key}": value for key, value in _adapter(weights).items()}
    metadata = {"lora_adapter_metadata": json.dumps(adapter, indent=2, sort_keys=True)}
    tensors = {f"transformer.{name}": tensor for name, tensor in weights.tensors.items()}
    with _writing(folder, LORA_FILE) as partial:
        _save(tensors, partial / LORA_FILE, weights, options, metadata)


def _write_comfyui(weights: TrainedWeights, folder: Path, options: ExportOptions) -> None:
    """Names of the original network, which those of the adapted layers equal, below "diffusion_model.".

    The scale is "<layer>.alpha" divided by the rank; a layer without one gets a scale of 1, whatever the metadata says.
    """
    tensors = {f"diffusion_model.{name}": tensor for name, tensor in weights.tensors.items()}
    alpha = torch.tensor(float(weights.config.policy.alpha))
    scales = {f"diffusion_model.{module}.alpha": alpha.clone() for module in weights.modules}
    with _writing(folder, COMFYUI_FILE) as partial:
        _save(_cast(tensors, options.dtype) | scales, partial / COMFYUI_FILE, weights)


def _write_peft(weights: TrainedWeights, folder: Path, options: ExportOptions) -> None:
    content = _adapter(weights) | {"base_model_name_or_path": weights.config.backbone.path}
    tensors = {f"base_model.model.{name}": tensor for name, tensor in weights.tensors.items()}
    with _writing(folder, PEFT_FILE) as partial:
        _save(tensors, partial / PEFT_FILE, weights, options)
        _write_json(content | {"inference_mode": True}, partial / PEFT_CONFIG)


def _write_network(weights: TrainedWeights, folder: Path, options: ExportOptions) -> None:
    """All parameters, for `LTX2VideoTransformer3DModel.from_pretrained(folder)`."""
    network = weights.meta.get("network")
    if network is None:
        raise UsageError(
            "the checkpoint was saved by an older version and does not describe its network. Train one more step "
            "(raise run.steps), then export."
        )
    with _writing(folder, "diffusion_pytorch_model*") as partial:
        _save(weights.tensors, partial / NETWORK_FILE, weights, options)
        _write_json(network, partial / NETWORK_CONFIG)


def _write_merged(weights: TrainedWeights, folder: Path, options: ExportOptions) -> None:
    """The base's files one after another, each weight plus alpha / rank times B A: added in float32, rounded once."""
    if weights.config.backbone.kind != "ltx2":
        raise UsageError("format merged (--format): only for runs on LTX-2.")
    from omninft_train.models.ltx2 import locate

    base = options.base or weights.config.backbone.path
    check_base(weights, base)
    source = locate(base, ("model_index.json", "transformer/*")) / "transformer"
    missing = set(weights.modules)
    with _writing(folder, "diffusion_pytorch_model*") as partial:
        for file in _base_files(source):
            tensors = _load(file)
            for module in sorted(missing & {name.removesuffix(".weight") for name in tensors}):
                base_weight = tensors[f"{module}.weight"]
                dtype = getattr(torch, options.dtype) if options.dtype else base_weight.dtype
                tensors[f"{module}.weight"] = _merge(base_weight, weights, module).to(dtype)
                missing.remove(module)
            _save(tensors, partial / file.name, weights, options)
        for name in (NETWORK_CONFIG, INDEX):
            if (source / name).is_file():
                shutil.copyfile(source / name, partial / name)
        if missing:
            raise UsageError(f"{source}: has no {min(missing)}.weight, nor {len(missing) - 1} more that were adapted.")


def _base_files(source: Path) -> list[Path]:
    """Those that a loader reads; a folder may hold the network in other formats beside them."""
    try:
        return weight_files(source)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise EnvironmentProblem(f"{source / INDEX}: cannot be read ({error}). Download the pipeline again.") from error


def _merge(base: Tensor, weights: TrainedWeights, module: str) -> Tensor:
    section = weights.config.policy
    a, b = (weights.tensors[module + part].float() for part in (_A, _B))  # (r, in), (out, r)
    return base.float() + section.alpha / section.rank * (b @ a)


def _adapter(weights: TrainedWeights) -> dict[str, Any]:
    """peft's configuration of the adapter in what JSON can hold."""
    content: Any = lora_config(weights.config.policy.rank, weights.config.policy.alpha).to_dict()
    return {key: sorted(value) if isinstance(value, set) else value for key, value in content.items()}


def _save(
    tensors: Mapping[str, Tensor],
    path: Path,
    weights: TrainedWeights,
    options: ExportOptions = ExportOptions(),
    more: Mapping[str, str] | None = None,
) -> None:
    section = weights.config.policy
    metadata = {
        "format": "pt",
        "base_model": weights.config.backbone.path,
        "base_version": base_version(weights),
        "base_architecture": str(weights.meta["backbone_digest"]),
        "trained_steps": str(weights.meta["step"]),
    }
    if weights.is_lora:
        metadata |= {"lora_rank": str(section.rank), "lora_alpha": str(section.alpha)}
    save_file(_cast(tensors, options.dtype), path, metadata | dict(more or {}))


def _cast(tensors: Mapping[str, Tensor], dtype: Dtype | None) -> dict[str, Tensor]:
    if dtype is None:
        return dict(tensors)
    wanted = getattr(torch, dtype)
    return {name: value.to(wanted) if value.is_floating_point() else value for name, value in tensors.items()}


def _load(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise EnvironmentProblem(f"{file}: cannot be read ({error}). Download the pipeline again.") from error


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def _writing(folder: Path, weights: str) -> Iterator[Path]:
    """A folder inside `folder` to write to; once all is written its files take the place of those that were there.

    Args:
        folder: of the weights.
        weights: pattern of weight files; such ones of an earlier export, as many parts of a larger network, go.
    """
    if folder.is_file():
        raise UsageError(f"{folder} is a file; the weights need a folder. Name another one.")
    # Of a name that no other export has: what a killed one left there is half of something.
    partial, is_new = folder / f"{_PARTIAL}{secrets.token_hex(4)}", not folder.exists()
    try:
        partial.mkdir(parents=True)
        for left in folder.glob(".partial*"):
            with suppress(FileNotFoundError):  # of an export that ends now
                if time.time() - left.stat().st_mtime > _ABANDONED:
                    shutil.rmtree(left, ignore_errors=True)
        yield partial
        written = {path.name for path in partial.iterdir()}
        for name in written:
            rename(partial / name, folder / name)
        for path in folder.glob(weights):
            if path.name not in written:
                path.unlink()
    except (OSError, SafetensorError) as error:
        raise EnvironmentProblem(
            f"{folder}: the weights cannot be written ({error}). Free space or name another folder."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
