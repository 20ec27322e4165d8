"""Layer-wise gradient surgery: which fraction of a gradient passes in each block, and how it is scaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from omninft_train.errors import UsageError

Where = Literal["context", "kv"]
Direction = Literal["a2v", "v2a"]


@dataclass(frozen=True)
class SurgeryRule:
    """One rule.

    Attributes:
        blocks: "3", "1-10" (inclusive), ">20", "<10", or fractions of the depth such as "0.0-0.25". Block b of
            a network of n blocks lies at (b + 0.5) / n, and a range of fractions covers the blocks that lie in it, the
            upper end left out.
        keep: fraction of the gradient that passes, in [0, 1].
    """

    blocks: str
    keep: float


@dataclass(frozen=True)
class SurgeryPreset:
    """Rules, and what they scale.

    Attributes:
        rules: later ones win.
        where: "context" scales what reaches the other stream's state, and leaves the projections' own gradients alone;
            "kv" scales the projected keys and values, and so those gradients as well.
    """

    rules: tuple[SurgeryRule, ...]
    where: Where


_LTX2_DEPTH = 48
_ANY_DEPTH = 10**4

PRESETS: dict[str, SurgeryPreset] = {
    "release": SurgeryPreset((SurgeryRule("0", 0.0), SurgeryRule("1-10", 0.1), SurgeryRule("40-47", 0.3)), "context"),
    "paper": SurgeryPreset((SurgeryRule("<10", 0.9),), "kv"),
    "paper-keep10": SurgeryPreset((SurgeryRule("<10", 0.1),), "kv"),
}
"""For LTX-2's 48 blocks. "paper" reads the paper's alpha_s = 0.1 as its formula does: as the fraction detached."""


def keep_by_block(rules: Sequence[SurgeryRule], depth: int) -> list[float]:
    """Fraction that passes in each of `depth` blocks; 1 where no rule says otherwise.

    Raises:
        UsageError: a rule that cannot be read, names a block that is not there, or keeps less than 0 or more than 1.
    """
    keep = [1.0] * depth
    for rule in rules:
        check_rule(rule)
        for block in _blocks(rule.blocks, depth):
            keep[block] = rule.keep
    return keep


def check_rule(rule: SurgeryRule) -> None:
    """Whether a rule can be read, for networks of any depth.

    Raises:
        UsageError: it cannot, or keeps less than 0 or more than 1.
    """
    if not 0 <= rule.keep <= 1:
        raise UsageError(f"surgery rule for blocks '{rule.blocks}': keep {rule.keep} is not in [0, 1].")
    _blocks(rule.blocks, _ANY_DEPTH)


def preset_keep(preset: SurgeryPreset, depth: int) -> list[float]:
    """Fraction that passes in each of `depth` blocks.

    A network of another depth than LTX-2's takes, for its block b, the fraction of the block at the same relative
    depth: floor((b + 0.5) / depth x 48).
    """
    keep = keep_by_block(preset.rules, _LTX2_DEPTH)
    return [keep[int((block + 0.5) / depth * _LTX2_DEPTH)] for block in range(depth)]


def block_at(fraction: float, depth: int) -> int:
    """The first of `depth` blocks that lies at or behind a fraction of the depth; block b lies at (b + 0.5) / depth."""
    return next((block for block in range(depth) if (block + 0.5) / depth >= fraction), depth)


def _blocks(text: str, depth: int) -> list[int]:
    text = text.strip()
    try:
        if text.startswith((">", "<")):
            bound = int(text[1:])
            blocks = [b for b in range(depth) if (b > bound if text[0] == ">" else b < bound)]
        elif "." in text:
            low, high = (float(part) for part in text.split("-"))
            blocks = list(range(block_at(low, depth), block_at(high, depth)))
        else:
            first, _, last = text.partition("-")
            blocks = list(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise UsageError(
            f"surgery rule for blocks '{text}': expected '3', '1-10', '>20', '<10' or fractions such as '0.0-0.25'."
        ) from error
    if blocks and blocks[-1] >= depth:
        raise UsageError(f"surgery rule for blocks '{text}': the network has {depth} blocks, 0 to {depth - 1}.")
    return blocks


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: float) -> Tensor:
        ctx.keep = keep
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        # A product with 0 would keep infinities as NaN.
        return (torch.zeros_like(gradient) if ctx.keep == 0 else gradient * ctx.keep), None


def scale_gradient(x: Tensor, keep: float) -> Tensor:
    """`x` itself, bit for bit; its gradient is multiplied by `keep`."""
    scaled: Tensor = _ScaleGradient.apply(x, keep)
    return scaled
