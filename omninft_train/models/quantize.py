"""A frozen network whose large layers are kept in 8 bits, by torchao."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

from omninft_train.errors import EnvironmentProblem
from omninft_train.models.lora import adapter_shapes

Quantization = Literal["none", "int8"]


def quantized(network: Any, how: Quantization, device: str) -> Any:
    """A network with the layers that adapters sit on in 8 bits; they are 98 % of LTX-2.

    Weights are rounded to 255 steps in each row and multiplied in the format of their input; everything else keeps its
    format. Layers go to the device one by one, so the device never holds the whole in its own format.

    Args:
        network: an LTX-2 transformer without adapters, in main memory; changed in place.
        how: "int8".
        device: where it goes.

    Raises:
        EnvironmentProblem: torchao is not installed.
    """
    if find_spec("torchao") is None:
        raise EnvironmentProblem(
            f"backbone.quantize = '{how}' needs torchao, not installed here: pip install 'avbench[train,quantize]'"
        )
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    layers = {name.rpartition(".lora_")[0] for name in adapter_shapes(network, 1)}
    quantize_(network, Int8WeightOnlyConfig(), filter_fn=lambda _, name: name in layers, device=device)
    return network.to(device).requires_grad_(False)
