"""Checkpoints of keyed-random numbers, as the reference networks were filled for their goldens."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import torch


def keyed_entries(entries: Mapping[str, Sequence[int]], *, slope: float = 1.0) -> dict[str, torch.Tensor]:
    """Entries by name and shape: two and more dimensions are 0.7 / sqrt(fan in) wide, fewer 0.02.

    Args:
        entries: shape by name.
        slope: mean of `weight` entries of one dimension.
    """
    return {name: _entry(name, tuple(shape), slope) for name, shape in entries.items()}


def _entry(name: str, shape: tuple[int, ...], slope: float) -> torch.Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 2**63
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if len(shape) >= 2:
        return noise * 0.7 / math.sqrt(noise.numel() / shape[0])
    if name.endswith("running_var"):
        return 1 + 0.02 * noise.abs()
    return slope + 0.02 * noise if name.endswith("weight") else 0.02 * noise
