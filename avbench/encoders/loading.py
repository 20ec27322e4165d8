"""Fill a network: strictly from a checkpoint, or with keyed-random weights for tests. Imports torch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from avbench.encoders.base import LoadContext
from avbench.errors import EnvironmentProblem

# Under which names training programs put the tensors beside the state of an optimizer and the like.
_NESTED = ("state_dict", "model", "params", "model_state_dict", "model_state")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file or of a torch file that holds nothing but tensors and plain values.

    A torch file may nest the tensors under one of the names in `_NESTED`.

    Raises:
        EnvironmentProblem: the file is damaged, or wants to run code while loading.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise EnvironmentProblem(
            f"{path}: not a checkpoint that can be loaded safely ({type(error).__name__}: "
            f"{(str(error).splitlines() or [''])[0][:200]}). Only safetensors files and plain tensor files are read; "
            "get the file again with 'avbench models pull'."
        ) from error
    for name in _NESTED:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise EnvironmentProblem(f"{path}: expected a table of tensors, got {type(content).__name__}.")
    return content


def load_strict(module: nn.Module, state: Mapping[str, Tensor], path: Path | str) -> None:
    """Fill `module` from `state`: every key used, none missing, every shape equal.

    Raises:
        EnvironmentProblem: a missing or extra key or another shape; the message names up to three.
    """
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - state.keys())
    extra = sorted(state.keys() - wanted.keys())
    shapes = [
        f"{key} {tuple(state[key].shape)}, expected {tuple(wanted[key].shape)}"
        for key in sorted(wanted.keys() & state.keys())
        if state[key].shape != wanted[key].shape
    ]
    problems = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''})"
        for what, keys in (("missing keys", missing), ("unknown keys", extra), ("wrong shapes", shapes))
        if keys
    ]
    if problems:
        raise EnvironmentProblem(
            f"{path} does not fit {type(module).__name__}: {'; '.join(problems)}. "
            "Get the file again with 'avbench models pull', and look for another model's file under this name."
        )
    module.load_state_dict(state, strict=True, assign=True)


def fill_keyed_random(module: nn.Module, *, he: bool = False, keep: Collection[str] = ()) -> None:
    """Fill every entry from a generator seeded by its name, so that two builds of one network are equal.

    float32 normal numbers; entries of two and more dimensions x 0.02; of fewer: `running_var` 1 + 0.02 |x|,
    `weight` 1 + 0.02 x, others 0.02 x. Integer entries, and entries that hold a non-finite value, stay as they are.

    Args:
        module: network in fp32.
        he: scale entries of two and more dimensions by sqrt(2 / fan_in) instead of 0.02 (batch-norm stacks).
        keep: names of entries to leave as built.
    """
    with torch.no_grad():
        for key, entry in module.state_dict(keep_vars=True).items():
            if key in keep or not entry.is_floating_point() or not torch.isfinite(entry).all():
                continue
            entry.copy_(_keyed_random(key, entry, he))


def _keyed_random(key: str, entry: Tensor, he: bool) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 2**63
    noise = torch.randn(entry.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    if entry.ndim >= 2:
        return noise * (math.sqrt(2 / (entry.numel() / entry.shape[0])) if he else 0.02)
    if key.endswith("running_var"):
        return 1 + 0.02 * noise.abs()
    return 1 + 0.02 * noise if key.endswith("weight") else 0.02 * noise


def to_device(module: nn.Module, context: LoadContext) -> nn.Module:
    """The network in eval mode, without gradients, on the device and at the precision of a run."""
    module.eval().requires_grad_(False)
    if context.setup.precision == "fp32":
        # On GPUs torch computes fp32 convolutions in TF32 unless told not to; a reference number is fp32 throughout.
        torch.backends.cudnn.allow_tf32 = False
    return module.to(device=context.device, dtype=DTYPES[context.setup.precision])
