"""Noise levels of sampling and of training, and how fast the old policy follows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Of 4,096 tokens, which Lightricks' one-stage pipeline takes whatever the size; 0.95 would be that of 1,024.
_SHIFT = 2.05
_LAST = 0.1


def ltx2_levels(steps: int) -> Tensor:
    """LTX-2's noise levels for a number of Euler steps: (steps + 1,) float32 from 1 to 0.

    Equal steps, shifted towards noise by exp(2.05), then stretched so that the last one before 0 is 0.1.

    Source: Lightricks LTX-2 and the release of OmniNFT. diffusers' pipeline shifts by the actual number of tokens.
    """
    even = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)[:-1]
    factor = math.exp(_SHIFT)
    shifted = factor / (factor + (1 / even - 1))
    distance = 1 - shifted
    if steps > 1:  # a single step starts at 1 and has nothing to stretch
        distance = distance * (1 - _LAST) / distance[-1]
    return torch.cat([1 - distance, torch.zeros(1, dtype=torch.float64)]).float()


def first_levels(count: int, fraction: float) -> list[int]:
    """Indices of the first, noisiest int(fraction x count) of `count` levels, as the release of OmniNFT trains."""
    return list(range(int(fraction * count)))


def random_levels(count: int, fraction: float, generator: torch.Generator, rollouts: int) -> list[list[int]]:
    """For each rollout, a random subset of int(fraction x count) levels, in order, as DiffusionNFT trains."""
    size = int(fraction * count)
    return [sorted(torch.randperm(count, generator=generator)[:size].tolist()) for _ in range(rollouts)]


def old_keep(updates: int) -> float:
    """eta of old <- eta old + (1 - eta) theta, after `updates` optimiser steps: min(0.001 n, 0.5).

    Source: DiffusionNFT, decay type 1; verl-omni calls it linear_to_0_5.
    """
    return min(0.001 * updates, 0.5)
