"""`WeightsConfig`: which weights networks use, from where, at which precision; one for all networks of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Weights = Literal["checkpoints", "keyed-random", "keyed-random-reduced"]
Precision = Literal["fp32", "bf16", "fp16"]
Transcriber = Literal["whisper_tiny_en", "whisper_base", "whisper_large_v3_turbo", "whisper_large_v3"]
"""Checkpoint that writes down what is spoken."""


@dataclass(frozen=True)
class WeightsConfig:
    """How networks are loaded. Everything here can change a number, so it enters the weights digest.

    Attributes:
        weights: "checkpoints" for the real ones. The keyed-random modes are for tests and benchmarks: every tensor
            is drawn from a generator seeded by its name; "reduced" also makes each network small.
        weights_dir: folder with checkpoint files; None for the hub cache only.
        precision: number format of weights and activations.
        accepted: licences that the user accepted in so many words.
        transcriber: checkpoint that writes down what is spoken.
    """

    weights: Weights = "checkpoints"
    weights_dir: Path | None = None
    precision: Precision = "fp32"
    accepted: frozenset[str] = frozenset()
    transcriber: Transcriber = "whisper_large_v3_turbo"

    @property
    def is_test(self) -> bool:
        """Whether the numbers mean nothing outside tests."""
        return self.weights != "checkpoints"

    @property
    def reduced(self) -> bool:
        """Whether networks are small stand-ins of the same architecture."""
        return self.weights == "keyed-random-reduced"
