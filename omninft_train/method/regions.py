"""Region-wise loss weights: from the attention that sound pays each video token to the weight of that token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

_SPREAD = 1e-6
"""Spreads below this fraction of a frame's mean are rounding, and weigh nothing."""


@dataclass(frozen=True)
class RegionOptions:
    """How attention becomes weights.

    Attributes:
        form: "frame-sigmoid": per latent frame, a sigmoid of the z-score (release of OmniNFT); "minmax": min-max over
            the clip (the paper); "minmax-frame": the same per latent frame.
        maximum: largest weight. The release's W; for the paper's lambda it is 1 + lambda.
        warmup_steps: optimiser steps over which the largest weight grows from 1; 0 for none.
    """

    form: Literal["frame-sigmoid", "minmax", "minmax-frame"] = "frame-sigmoid"
    maximum: float = 1.5
    warmup_steps: int = 400


def region_weights(scores: Tensor, frames: int, options: RegionOptions, step: int) -> Tensor:
    """Weights of video tokens, at least 1.

    Args:
        scores: (B, L) attention received, tokens ordered by frame.
        frames: number of latent frames; divides L.
        step: optimiser steps done.

    Returns:
        (B, L), in [1, maximum].

    Source: OmniNFT, region-wise loss reweighting, and its release.
    """
    maximum = warmed_maximum(options.maximum, step, options.warmup_steps)
    by_frame = torch.unflatten(scores, 1, (frames, -1))  # (B, T, L / T)
    if options.form == "frame-sigmoid":
        return _sigmoid(by_frame, maximum).flatten(1)
    if options.form == "minmax":
        return 1 + (maximum - 1) * minmax(scores)
    return 1 + (maximum - 1) * minmax(by_frame).flatten(1)


def warmed_maximum(maximum: float, step: int, warmup_steps: int) -> float:
    """The largest weight after `step` optimiser steps."""
    return maximum if warmup_steps <= 0 else 1 + (maximum - 1) * min(step / warmup_steps, 1.0)


def _sigmoid(values: Tensor, maximum: float) -> Tensor:
    mean = values.mean(dim=-1, keepdim=True)
    std = values.std(dim=-1, keepdim=True)
    flat = std <= _SPREAD * mean.abs()
    z = torch.where(flat, 0.0, (values - mean) / std.clamp(min=1e-30))
    return (1 + (maximum - 1) * torch.sigmoid((maximum - 1) * z)).clamp(1, maximum)


def minmax(values: Tensor) -> Tensor:
    """Values stretched over [0, 1] along the last dimension; 0 where they differ by rounding alone."""
    low, high = values.amin(dim=-1, keepdim=True), values.amax(dim=-1, keepdim=True)
    flat = high - low <= _SPREAD * high.abs()
    return torch.where(flat, 0.0, (values - low) / (high - low).clamp(min=1e-30))
