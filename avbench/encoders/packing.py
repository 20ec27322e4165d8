"""Make networks at bf16 fast on a CPU: weights in the order of its products, and memory kept. Imports torch.

torch's own linear layer brings a bf16 weight into that order at every call. Done once, products of the sizes met here
run 10 to 15 % faster (395 -> 445 GFLOP/s on two Zen 4 cores). At fp32 nothing is packed, so that numbers stay those of
torch's own layers.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.encoders.freed_memory import keep_freed_memory


def linear(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`torch.nn.functional.linear` that takes packed weights, too."""
    if not weight.is_mkldnn:
        return F.linear(tokens, weight, bias)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(tokens, weight, bias, "none", [], "")
    return product


class PackedLinear(nn.Linear):
    """A linear layer whose weight may be packed."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., D) -> (..., E)."""
        return linear(input, self.weight, self.bias)


def packed(weight: Tensor) -> nn.Parameter:
    """A weight (E, D) as `linear` multiplies fastest by it; itself where nothing is gained."""
    if weight.device.type != "cpu" or weight.dtype is not torch.bfloat16 or not can_pack():
        return nn.Parameter(weight, requires_grad=False)
    return nn.Parameter(torch.ops.mkldnn._reorder_linear_weight(weight.detach()), requires_grad=False)


def pack(module: nn.Module) -> None:
    """Pack the weights of all plain linear layers inside a network that is on its device, at its precision.

    Layers that other modules reach into, as torch's attention does with its output layer, are of classes of their own
    and stay as they are. A packed weight cannot be saved or moved any more.
    """
    for part in module.modules():
        if type(part) is nn.Linear:
            part.weight = packed(part.weight)
            part.__class__ = PackedLinear
            if part.weight.is_mkldnn:
                keep_freed_memory()


@cache
def can_pack() -> bool:
    """Whether weights are packed on this machine: not without the instructions that torch's products at bf16 want.

    Tried with a small one: torch refuses it where it would refuse all. The operations are its own means for compiled
    networks, so they may be absent one day.
    """
    try:
        weight = torch.ops.mkldnn._reorder_linear_weight(torch.ones(16, 16, dtype=torch.bfloat16))
        torch.ops.mkldnn._linear_pointwise(torch.ones(1, 16, dtype=torch.bfloat16), weight, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return False
    return True
