"""Job of joined processes: load a tiny transformer of LTX-2 in 8 bits, as test_quantize does in one process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from diffusers import LTX2VideoTransformer3DModel
from torch import Tensor, nn

from omninft_train.models import loading
from omninft_train.models.quantize import load_quantized
from omninft_train.training.distributed import World


def load_in_eight_bits(job: Mapping[str, Any], world: World) -> None:
    """Load; leave what each process holds, and how many files it opened."""
    with mock.patch.object(loading, "safe_open", wraps=loading.safe_open) as opened:
        network = load_eight(Path(job["folder"]), world.node_size)
    torch.save({"codes": codes(network), "opened": opened.call_count}, f"{job['out']}-{world.rank}.pt")


def load_eight(folder: Path, node_size: int = 1) -> nn.Module:
    """A transformer as diffusers saves one, in bfloat16 and 8 bits."""
    kind: Any = LTX2VideoTransformer3DModel
    with torch.device("meta"):
        network: nn.Module = kind.from_config(kind.load_config(folder)).to(torch.bfloat16)
    load_quantized(network, "int8", folder, "cpu", node_size)
    return network


def codes(network: nn.Module) -> dict[str, Tensor]:
    """The bits that are kept: whole numbers and a scale of each row, where there are such."""
    found: dict[str, Any] = {}
    for name, tensor in network.state_dict().items():
        plain = type(tensor) is torch.Tensor
        found |= {name: tensor} if plain else {f"{name}/8": tensor.qdata, f"{name}/scale": tensor.scale}
    return found
