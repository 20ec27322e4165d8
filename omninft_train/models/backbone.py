"""Interface of a generator that can be trained: its transformer, its conditioning, and its decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from omninft_train.models.latents import Condition, Geometry, Latents


@dataclass(frozen=True)
class Decoded:
    """A generated clip in memory.

    Attributes:
        frames: uint8 (T, H, W, 3).
        fps: frames per second.
        waveform: float32 (C, N), nominally in [-1, 1].
        sample_rate: samples per second.
    """

    frames: NDArray[np.uint8]
    fps: float
    waveform: NDArray[np.float32]
    sample_rate: int


class Backbone(Protocol):
    """One generator.

    Attributes:
        kind: "ltx2", or the name of a miniature world.
        digest: identity of its architecture; checkpoints of another one are refused.
        geometry: sizes of the clips that it makes.
        transformer: a diffusers LTX2VideoTransformer3DModel with its pretrained weights.
    """

    kind: str
    digest: str
    geometry: Geometry
    transformer: nn.Module

    def missing(self, prompts: Sequence[str]) -> list[str]:
        """Those of some prompts whose conditioning takes a text encoder to compute, and is not there."""
        ...

    def condition(self, prompts: Sequence[str]) -> Condition:
        """Conditioning of some prompts, (B, S, D); computed once per distinct prompt."""
        ...

    def negative(self) -> Condition:
        """Conditioning (1, S, D) of what guidance leads away from."""
        ...

    def decode(self, latents: Latents) -> list[Decoded]:
        """Clips of clean latents in model units."""
        ...
