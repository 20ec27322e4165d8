"""Hooks that measure how strongly each stream responds to the other, block by block and token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from omninft_train.method.surgery import Direction
from omninft_train.models.hooks import Surgery, attention_modules


@dataclass(frozen=True)
class Responses:
    """Norms of what cross-attention gives each token, of B rollouts, means over steps.

    Attributes:
        video, audio: of each token, means over blocks, (B, L).
        video_blocks, audio_blocks: of each block, means over tokens, (B, blocks).
    """

    video: Tensor
    audio: Tensor
    video_blocks: Tensor
    audio_blocks: Tensor

    @staticmethod
    def cat(parts: Sequence[Responses]) -> Responses:
        """Parts one after another along B."""
        names = ("video", "audio", "video_blocks", "audio_blocks")
        return Responses(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def without(self, bad: Tensor) -> Responses:
        """The same; rollouts (B,) bool that tell nothing get equal tokens, and blocks of NaN, which nobody counts."""
        rows, nan = bad[:, None], float("nan")
        return Responses(
            self.video.masked_fill(rows, 1.0),
            self.audio.masked_fill(rows, 1.0),
            self.video_blocks.masked_fill(rows, nan),
            self.audio_blocks.masked_fill(rows, nan),
        )


class ResponseCapture:
    """Measures the outputs of all cross-attentions: before their gate, behind the projection.

    Video responds to audio in A2V, audio to video in V2A. Only norms are kept, in float32, on the device.

    Source: Adaptive Reward Routing (arXiv 2609.37200).
    """

    def __init__(self, transformer: nn.Module) -> None:
        self._on = False
        self._sums: dict[tuple[Direction, int], Tensor] = {}
        self._counts: dict[tuple[Direction, int], int] = {}
        for direction in ("a2v", "v2a"):
            for block, module in enumerate(attention_modules(transformer, direction)):
                module.register_forward_hook(self._measure((direction, block)))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Measure the forward passes that run meanwhile."""
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def take(self) -> Responses:
        """What was measured since the last call.

        Raises:
            RuntimeError: nothing was.
        """
        if not self._sums:
            raise RuntimeError("no response was measured: no cross-attention ran while collecting was on")
        means = {key: total / self._counts[key] for key, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        video, audio = (
            torch.stack([means[key] for key in sorted(means) if key[0] == direction], dim=1)  # (B, blocks, L)
            for direction in ("a2v", "v2a")
        )
        return Responses(video.mean(dim=1), audio.mean(dim=1), video.mean(dim=2), audio.mean(dim=2))

    def _measure(self, key: tuple[Direction, int]) -> Callable[..., None]:
        def hook(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
            if self._on:
                norms = output.detach().float().norm(dim=-1)  # (B, L)
                self._sums[key] = self._sums[key] + norms if key in self._sums else norms
                self._counts[key] = self._counts.get(key, 0) + 1

        return hook


class BothWays:
    """Gradient surgery in both directions, on projected keys and values, with fractions that change from step to step.

    Args:
        transformer: an LTX-2 transformer, with its adapters.
    """

    def __init__(self, transformer: nn.Module) -> None:
        ones = [1.0] * len(attention_modules(transformer, "a2v"))
        self.a2v, self.v2a = (Surgery(transformer, ones, "kv", direction) for direction in ("a2v", "v2a"))

    def keep(self, a2v: Sequence[float], v2a: Sequence[float]) -> None:
        """Set the fractions that pass in each block."""
        for surgery, fractions in ((self.a2v, a2v), (self.v2a, v2a)):
            surgery.keep = list(fractions)
            surgery.attach()

    @contextmanager
    def enabled(self) -> Iterator[None]:
        """Scale gradients meanwhile."""
        with self.a2v.enabled(), self.v2a.enabled():
            yield
