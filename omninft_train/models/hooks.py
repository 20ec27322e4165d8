"""Hooks on LTX-2's cross-attentions: gradients scaled on their way back, attention collected on the way forth.

Both are hooks on modules, so that no processor is replaced, any attention backend works, and the forward pass stays as
it is, bit for bit. Put them on after adapters have been added: a hook on a layer that is wrapped later would miss the
adapter's path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from omninft_train.errors import UsageError
from omninft_train.method.surgery import Direction, Where, scale_gradient

_HEADS_AT_ONCE = 4
_MODULES: dict[Direction, str] = {"a2v": "audio_to_video_attn", "v2a": "video_to_audio_attn"}


def attention_modules(transformer: nn.Module, direction: Direction) -> list[nn.Module]:
    """The cross-attention of each block that carries information in a direction.

    Raises:
        UsageError: this is no LTX-2 transformer.
    """
    blocks = getattr(transformer, "transformer_blocks", None)
    modules = [getattr(block, _MODULES[direction], None) for block in blocks or ()]
    if not modules or None in modules:
        raise UsageError(
            f"{type(transformer).__name__} has no {_MODULES[direction]} in each of its blocks; "
            "expected diffusers' LTX2VideoTransformer3DModel."
        )
    return [module for module in modules if module is not None]


class Surgery:
    """Scales gradients in cross-attentions, block by block, while switched on and gradients are computed.

    Args:
        transformer: an LTX-2 transformer, with its adapters.
        keep: fraction of the gradient that passes, for each block.
        where: "context": what reaches the other stream's state; "kv": the projected keys and values.
        direction: "a2v" scales the gradient from video into audio, "v2a" the other way.

    Source: OmniNFT, layer-wise gradient surgery; "context" is what its release does.
    """

    def __init__(
        self, transformer: nn.Module, keep: Sequence[float], where: Where = "context", direction: Direction = "a2v"
    ) -> None:
        self._modules = attention_modules(transformer, direction)
        if len(keep) != len(self._modules):
            raise UsageError(f"surgery: {len(keep)} fractions for {len(self._modules)} blocks.")
        self.keep = list(keep)
        self.where = where
        self._on = False
        self._handles: list[RemovableHandle] = []

    def attach(self) -> None:
        """Put the hooks on; blocks that keep everything get none."""
        self.remove()
        for module, keep in zip(self._modules, self.keep, strict=True):
            if keep == 1:
                continue
            if self.where == "context":
                self._handles.append(module.register_forward_pre_hook(self._on_context(keep), with_kwargs=True))
            else:
                for name in ("to_k", "to_v"):
                    hook = self._on_output(keep, module, name)
                    self._handles.append(module.get_submodule(name).register_forward_hook(hook))

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @contextmanager
    def enabled(self) -> Iterator[None]:
        """Scale gradients meanwhile. Keep it on until backward is done: checkpointing calls the hooks again."""
        self._on = True
        try:
            yield
        finally:
            self._on = False

    @property
    def _scales(self) -> bool:
        return self._on and torch.is_grad_enabled()

    def _on_context(self, keep: float) -> Callable[..., Any]:
        def hook(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
            if not self._scales:
                return None
            if "encoder_hidden_states" not in named:
                raise RuntimeError("gradient surgery: cross-attention was called without its context by keyword")
            context = named["encoder_hidden_states"]
            return arguments, named | {"encoder_hidden_states": scale_gradient(context, keep)}

        return hook

    def _on_output(self, keep: float, attention: nn.Module, name: str) -> Callable[..., Any]:
        def hook(projection: nn.Module, _: tuple[Any, ...], output: Tensor) -> Any:
            if not self._scales:
                return None
            if getattr(attention, name) is not projection:
                raise RuntimeError(
                    f"gradient surgery: {name} was wrapped after attach(); attach once adapters are there"
                )
            return scale_gradient(output, keep)

        return hook


class AttentionCapture:
    """Sums, over audio queries, the attention that each video token receives in V2A.

    Queries and keys are caught behind their norms, rotated as the attention itself does, and only column sums are
    kept, in float32, on the device.

    Args:
        blocks: indices of the blocks to read.
        rope: with rotary embedding, as the attention has it; the release of OmniNFT leaves it out.

    Source: OmniNFT, region-wise loss reweighting.
    """

    def __init__(self, transformer: nn.Module, blocks: Sequence[int], *, rope: bool = True) -> None:
        self._rope = rope
        self._on = False
        self._sum: Tensor | None = None
        self._count = 0
        self._handles: list[RemovableHandle] = []
        self._caught: list[dict[str, Tensor]] = []
        modules = attention_modules(transformer, "v2a")
        for block in blocks:
            self._attach(modules[block], block)

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Read the forward passes that run meanwhile."""
        for caught in self._caught:
            caught.clear()  # of a pass that failed halfway
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def take(self) -> Tensor:
        """Scores (B, Lv): sums over queries, means over heads, blocks and passes; then starts anew.

        Raises:
            RuntimeError: nothing was collected, so the weights would mean nothing.
        """
        if self._sum is None:
            raise RuntimeError("no attention was collected: no V2A attention ran while collecting was on")
        scores = self._sum / self._count
        self._sum, self._count = None, 0
        return scores

    def _attach(self, attention: nn.Module, block: int) -> None:
        caught: dict[str, Tensor] = {}
        self._caught.append(caught)

        def catch(name: str) -> Callable[..., None]:
            def hook(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
                if self._on:
                    caught[name] = output.detach()

            return hook

        def read(module: nn.Module, _: tuple[Any, ...], named: dict[str, Any], __: Tensor) -> None:
            if not self._on:
                return
            if caught.keys() != {"q", "k"}:
                raise RuntimeError(f"block {block}: the V2A attention ran without its queries or keys being seen")
            if named.get("attention_mask") is not None:
                raise RuntimeError(f"block {block}: attention sums know no mask, and the V2A attention has one")
            rotary = (named["query_rotary_emb"], named["key_rotary_emb"]) if self._rope else (None, None)
            sums = column_sums(module, caught.pop("q"), caught.pop("k"), rotary)
            self._sum = sums if self._sum is None else self._sum + sums
            self._count += 1

        self._handles += [
            attention.get_submodule("norm_q").register_forward_hook(catch("q")),
            attention.get_submodule("norm_k").register_forward_hook(catch("k")),
            attention.register_forward_hook(read, with_kwargs=True),
        ]


Rotary = tuple[Tensor, Tensor] | None


def column_sums(attention: Any, query: Tensor, key: Tensor, rotary: tuple[Rotary, Rotary]) -> Tensor:
    """Attention probabilities summed over queries and averaged over heads.

    Args:
        attention: the module, for its number of heads and its kind of rotary embedding.
        query: (B, Lq, H d) behind its norm.
        key: (B, Lk, H d) behind its norm.
        rotary: (cos, sin) of query and key, or None.

    Returns:
        (B, Lk) float32.
    """
    heads = attention.heads
    query, key = (
        _rotated(part, pair, heads, attention.rope_type) for part, pair in zip((query, key), rotary, strict=True)
    )
    query *= query.shape[-1] ** -0.5
    total = torch.zeros(key.shape[0], key.shape[2], dtype=torch.float32, device=key.device)
    for first in range(0, heads, _HEADS_AT_ONCE):
        part = slice(first, first + _HEADS_AT_ONCE)
        attended = query[:, part] @ key[:, part].transpose(-1, -2)  # (B, h, Lq, Lk)
        torch.softmax(attended, dim=-1, out=attended)  # in place: fresh memory costs a processor more than the sums
        total += attended.sum(dim=(1, 2))
    sums: Tensor = total / heads
    return sums


def _rotated(states: Tensor, pair: Rotary, heads: int, kind: str) -> Tensor:
    """(B, L, H d) -> new (B, H, L, d) float32 with rotary embedding."""
    if pair is not None and kind != "split":
        from diffusers.models.transformers.transformer_ltx2 import apply_interleaved_rotary_emb

        states = apply_interleaved_rotary_emb(states, pair)
    plain = torch.unflatten(states, -1, (heads, -1)).transpose(1, 2)
    if pair is None or kind != "split":
        return plain.to(torch.float32, copy=True)
    # diffusers' function takes four times as long on a processor: most of what capturing costs in the miniature.
    cos, sin = pair  # (B, H, L, d / 2)
    turned = plain.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    (first, second), (left, right) = plain.float().chunk(2, dim=-1), turned.chunk(2, dim=-1)
    left.mul_(cos).addcmul_(second, sin, value=-1)
    right.mul_(cos).addcmul_(first, sin)
    return turned
