"""Layers of LTX-2 that a LoRA sits on, and the parts of it that peft puts there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

_ATTENTIONS = ("attn1", "attn2", "audio_attn1", "audio_attn2", "audio_to_video_attn", "video_to_audio_attn")
_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "audio_ff.net.0.proj", "audio_ff.net.2")
TARGETS = (*(f"{attention}.{part}" for attention in _ATTENTIONS for part in _PROJECTIONS), *_FEED_FORWARD)
"""The 28 linear layers of each block that adapters sit on. Source: the release of OmniNFT."""


def lora_config(rank: int, alpha: int) -> Any:
    """peft's configuration of an adapter: rank, alpha and `TARGETS`."""
    from peft import LoraConfig

    return LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, init_lora_weights="gaussian", target_modules=list(TARGETS)
    )


def adapter_shapes(transformer: nn.Module, rank: int) -> dict[str, tuple[int, int]]:
    """Shapes of an adapter's tensors by their names, A (r, in) and B (out, r), of a network that has none yet."""
    adapted = tuple(f".{target}" for target in TARGETS)
    shapes = {}
    for name, layer in transformer.named_modules():
        if isinstance(layer, nn.Linear) and name.startswith("transformer_blocks.") and name.endswith(adapted):
            shapes[f"{name}.lora_A.weight"] = (rank, layer.in_features)
            shapes[f"{name}.lora_B.weight"] = (layer.out_features, rank)
    return shapes


def adapter_parts(layers: Mapping[str, Any], adapter: str) -> dict[str, Any]:
    """The linear layers A and B of one adapter by the names of their weights, in order."""
    parameters = {
        f"{name}.{part}.weight": getattr(layer, part)[adapter]
        for name, layer in layers.items()
        for part in ("lora_A", "lora_B")
    }
    return dict(sorted(parameters.items()))
