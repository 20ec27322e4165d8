"""Trained weights as diffusers loads them: a LoRA file with its alpha, or a whole transformer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.files import rename
from omninft_train.models.policy import FullPolicy, LoraPolicy, Policy

LORA_FILE = "pytorch_lora_weights.safetensors"


def export(policy: Policy, folder: Path) -> Path:
    """Write what was trained; the folder.

    Raises:
        UsageError: a policy of another kind, or `folder` is a file.
        EnvironmentProblem: the folder cannot be written.
    """
    if isinstance(policy, LoraPolicy):
        return save_lora(policy, folder)
    if isinstance(policy, FullPolicy):
        return save_transformer(policy, folder)
    raise UsageError(f"{type(policy).__name__} cannot be exported; expected LoraPolicy or FullPolicy.")


def save_lora(policy: LoraPolicy, folder: Path) -> Path:
    """Write the policy's adapter for `LTX2Pipeline.load_lora_weights(folder)`; returns the folder.

    The file carries rank and alpha: without them the loader takes alpha for equal to the rank and scales wrongly.
    Where parameters are sharded, all processes have to call this, each with a folder of its own.

    Raises:
        UsageError: `folder` is a file.
        EnvironmentProblem: the folder cannot be written.
    """
    from diffusers.loaders.lora_pipeline import LTX2LoraLoaderMixin

    layers: dict[str, Any] = {**policy.full(policy.trainable())}
    with _writing(folder, LORA_FILE) as partial:
        LTX2LoraLoaderMixin.save_lora_weights(
            partial,
            transformer_lora_layers=layers,
            transformer_lora_adapter_metadata=_metadata(policy),
            weight_name=LORA_FILE,
        )
    return folder


def save_transformer(policy: FullPolicy, folder: Path) -> Path:
    """Write the policy's network for `LTX2VideoTransformer3DModel.from_pretrained(folder)`; returns the folder.

    Raises:
        UsageError: `folder` is a file, or the network is sharded.
        EnvironmentProblem: the folder cannot be written.
    """
    if any(hasattr(parameter, "device_mesh") for parameter in policy.trainable().values()):
        raise UsageError("a sharded network cannot be exported; load its checkpoint in one process first.")
    network: Any = policy.transformer("policy")
    with _writing(folder, "diffusion_pytorch_model*") as partial:
        network.save_pretrained(partial)
    return folder


def _metadata(policy: LoraPolicy) -> dict[str, Any]:
    """The adapter's configuration in what JSON can hold."""
    config: Any = policy.config
    content = config.to_dict()
    return {key: sorted(value) if isinstance(value, set) else value for key, value in content.items()}


@contextmanager
def _writing(folder: Path, weights: str) -> Iterator[Path]:
    """A folder inside `folder` to write to; once all is written its files take the place of those that were there.

    Errors of a disk come as a user should read them; diffusers itself only logs when `folder` is a file.

    Args:
        weights: pattern of weight files; such ones of an earlier export, as many parts of a larger network, go.
    """
    from safetensors import SafetensorError

    if folder.is_file():
        raise UsageError(f"{folder} is a file; the weights need a folder. Name another one.")
    partial, is_new = folder / ".partial", not folder.exists()
    try:
        partial.mkdir(parents=True, exist_ok=True)
        yield partial
        written = {path.name for path in partial.iterdir()}
        for name in written:
            rename(partial / name, folder / name)
        for path in folder.glob(weights):
            if path.name not in written:
                path.unlink()
    except (OSError, SafetensorError) as error:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise EnvironmentProblem(
            f"{folder}: the weights cannot be written ({error}). Free space or name another folder."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
