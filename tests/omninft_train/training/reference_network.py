"""The network as the reference of the loop uses it: plain weights, full attention maps, gradients scaled by arithmetic.

One network without adapters is called with the weights of a role, in double precision. What the trainer does by
switching adapters, custom gradients and running sums is done here in the most direct way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

Streams = tuple[Tensor, Tensor]  # video (B, Lv, C), audio (B, La, C)
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Text:
    """Conditioning of both streams, (B, S, D), and its mask (B, S)."""

    video: Tensor
    audio: Tensor
    mask: Tensor | None

    def rows(self, index: Sequence[int]) -> Text:
        """Some of the B."""
        chosen = list(index)
        mask = None if self.mask is None else self.mask[chosen]
        return Text(self.video[chosen], self.audio[chosen], mask)


def merged(base: Weights, adapter: Weights, scale: float) -> dict[str, Tensor]:
    """W + scale B A in every layer that has an adapter."""
    weights = dict(base)
    for name, down in adapter.items():
        layer, found, _ = name.partition(".lora_A.")
        if found:
            up = adapter[f"{layer}.lora_B.weight"]
            weights[f"{layer}.weight"] = base[f"{layer}.weight"] + scale * up @ down
    return weights


def velocities(
    network: nn.Module, weights: Weights, sizes: Mapping[str, Any], x: Streams, t: Tensor, text: Text
) -> Streams:
    """v of both streams at x_t, t (B,)."""
    named = {
        "hidden_states": x[0],
        "audio_hidden_states": x[1],
        "encoder_hidden_states": text.video,
        "audio_encoder_hidden_states": text.audio,
        "encoder_attention_mask": text.mask,
        "audio_encoder_attention_mask": text.mask,
        "timestep": 1000 * t,
        "sigma": 1000 * t,
        "return_dict": False,
        **sizes,
    }
    found: Streams = functional_call(network, dict(weights), (), named)
    return found


@contextmanager
def _hooked(handles: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def without_self_attention(network: Any, blocks: Sequence[int]) -> Any:
    """Inside, self-attention in these blocks gives every token its own value."""

    def own_value(attention: Any, arguments: tuple[Any, ...], named: dict[str, Any], _: Tensor) -> Tensor:
        states = arguments[0] if arguments else named["hidden_states"]
        value = attention.to_v(states)
        if attention.to_gate_logits is not None:
            gate = 2 * torch.sigmoid(attention.to_gate_logits(states))  # (B, L, H)
            value = (value.unflatten(-1, (attention.heads, -1)) * gate[..., None]).flatten(2)
        projected: Tensor = attention.to_out[0](value)
        return projected

    attentions = [
        a for i in blocks for block in [network.transformer_blocks[i]] for a in (block.attn1, block.audio_attn1)
    ]
    return _hooked([a.register_forward_hook(own_value, with_kwargs=True) for a in attentions])


def attention_read(network: Any, blocks: Sequence[int], rope: bool, found: list[Tensor]) -> Any:
    """Inside, appends for each block what every video token gets from all audio tokens, mean over heads, (B, Lv)."""

    def read(attention: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        audio, video = arguments[0] if arguments else named["hidden_states"], named["encoder_hidden_states"]
        query, key = attention.norm_q(attention.to_q(audio)), attention.norm_k(attention.to_k(video))
        query, key = (states.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for states in (query, key))
        if rope:
            query, key = _turned(query, named["query_rotary_emb"]), _turned(key, named["key_rotary_emb"])
        maps = torch.softmax(query @ key.transpose(2, 3) / query.shape[-1] ** 0.5, dim=-1)  # (B, H, La, Lv)
        found.append(maps.mean(dim=1).sum(dim=1))

    attentions = [network.transformer_blocks[i].video_to_audio_attn for i in blocks]
    return _hooked([a.register_forward_pre_hook(read, with_kwargs=True) for a in attentions])


def _turned(states: Tensor, pair: Streams) -> Tensor:
    """Each pair (first half, second half) of features turned by its angle."""
    cos, sin = (part.double() for part in pair)  # (B, H, L, d / 2)
    first, second = states.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def surgery(network: Any, keep: Sequence[float], where: str) -> Any:
    """Inside, only this fraction of the gradient from video into audio passes in each block."""

    def partly(x: Tensor, fraction: float) -> Tensor:
        return fraction * x + (1 - fraction) * x.detach()

    def context(fraction: float) -> Callable[..., Any]:
        def hook(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            return arguments, {**named, "encoder_hidden_states": partly(named["encoder_hidden_states"], fraction)}

        return hook

    def projected(fraction: float) -> Callable[..., Any]:
        return lambda _, __, output: partly(output, fraction)

    handles: list[Any] = []
    for block, fraction in zip(network.transformer_blocks, keep, strict=True):
        attention = block.audio_to_video_attn
        if where == "context":
            handles.append(attention.register_forward_pre_hook(context(fraction), with_kwargs=True))
        else:
            handles += [part.register_forward_hook(projected(fraction)) for part in (attention.to_k, attention.to_v)]
    return _hooked(handles)
