"""A frozen network whose large layers are kept in 8 bits, by torchao."""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from torch import nn

from omninft_train.errors import EnvironmentProblem
from omninft_train.models.loading import check_files_suffice, sharing_node, whole_tensors
from omninft_train.models.lora import adapter_shapes

Quantization = Literal["none", "int8"]


def load_quantized(
    network: nn.Module,
    how: Quantization,
    source: Path,
    device: str,
    node_size: int = 1,
    timeout: timedelta | None = None,
) -> None:
    """Give a network memory and weights, the layers that adapters sit on in 8 bits; they are 98 % of LTX-2.

    Weights are rounded to 255 steps in each row and multiplied in the format of their input; everything else keeps its
    format. One layer after another is read, by one process of each node, and rounded on the device, so neither that nor
    the process's own memory ever holds the whole in its own format (files are mapped). All processes have to call this
    together.

    Args:
        network: an LTX-2 transformer without adapters on the meta device; changed in place.
        how: "int8".
        source: folder of its weights, as diffusers saves them.
        device: where it goes.
        node_size, timeout: see `sharing_node`.

    Raises:
        EnvironmentProblem: torchao is not installed, or a file cannot be read, or a weight is missing or of another
            shape.
    """
    if find_spec("torchao") is None:
        raise EnvironmentProblem(
            f"backbone.quantize = '{how}' needs torchao, not installed here: pip install 'avbench[train,quantize]'"
        )
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    check_files_suffice(network)
    rounded = {name.rpartition(".lora_")[0] for name in adapter_shapes(network, 1)}
    with sharing_node(node_size, device, timeout) as node:
        for name, tensor in whole_tensors(dict(sorted(network.named_parameters())), source, node):
            path, _, part = name.rpartition(".")
            layer = network.get_submodule(path)
            setattr(layer, part, nn.Parameter(tensor, requires_grad=False))
            if path in rounded and not any(parameter.is_meta for parameter in layer.parameters()):
                quantize_(layer, Int8WeightOnlyConfig())
            del tensor  # before the next one is read
