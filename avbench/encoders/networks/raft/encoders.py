"""How far the fastest pixels move between frames of a clip, by RAFT."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batch_for, batched
from avbench.encoders.freed_memory import giving_back
from avbench.encoders.pixels import image_batch, padded_sides, replicate_padded
from avbench.media import All, Frames, Stride

if TYPE_CHECKING:
    from torch import Tensor

ROW = "raft_things"
MULTIPLE = 8
STRIDE = Stride(8.0)
SMALLEST = 128
"""Shortest side that metrics take. The coarsest correlations of a shorter padded one have one row: the flow is NaN."""
# Correlations of a batch take (pixels / 64)^2 numbers per pair; more pairs at once bring nothing on large frames.
_BATCH_NUMBERS = 2**28

Speeds = NDArray[np.float32]


def _load(context: LoadContext) -> Any:
    from avbench.encoders.networks.raft.network import load

    return load(context, ROW)


def large_enough(height: int, width: int) -> bool:
    """Whether RAFT gives a flow for images of this size, once they are padded."""
    return min(padded_sides(height, width, MULTIPLE)) >= SMALLEST


def neighbours(count: int, *, ends: bool = False) -> list[tuple[int, int]]:
    """Indices of pairs of frames: each with the next; with `ends` also the first with the last and back."""
    pairs = [(i, i + 1) for i in range(count - 1)]
    return [*pairs, (0, count - 1), (count - 1, 0)] if ends and count else pairs


def _run(network: Any, clips: Sequence[ClipInput], *, fraction: float, ends: bool) -> list[Speeds]:
    return [_speeds(network, clip.views[0], fraction, ends) for clip in clips]


def _speeds(network: Any, frames: NDArray[np.uint8], fraction: float, ends: bool) -> Speeds:
    """Mean length of the longest `fraction` of flow vectors for each pair, in pixels of the padded image.

    A batch holds one clip, so no number depends on the clips beside it. Empty for frames that are too small.
    """
    import torch

    from avbench.encoders.networks.raft.network import flow

    pairs = neighbours(len(frames), ends=ends)
    if not pairs or not large_enough(*frames.shape[1:3]):
        return np.zeros(0, dtype=np.float32)
    device, give_back = next(network.parameters()).device, giving_back()

    def images(indices: Sequence[int]) -> Tensor:
        values = image_batch(frames, indices, device)
        return replicate_padded(2 * (values / 255) - 1, MULTIPLE)

    def forward(chosen: list[tuple[int, int]]) -> Tensor:
        if device.type == "cpu":
            give_back()
        first, second = (images(indices) for indices in zip(*chosen, strict=True))
        lengths = torch.linalg.vector_norm(flow(network, first, second), dim=1).flatten(1)
        longest: Tensor = lengths.topk(int(fraction * lengths.shape[1])).values
        return longest.mean(dim=1)

    size = batch_for(device, cpu=1, gpu=_pairs_at_once(*frames.shape[1:3]))
    return batched(forward, [pairs], size, ROW)[0]


def _pairs_at_once(height: int, width: int) -> int:
    tall, wide = padded_sides(height, width, MULTIPLE)
    return max(1, _BATCH_NUMBERS // (tall * wide // 64) ** 2)


RAFT = Backbone(name=ROW, load=_load, row=ROW, packages=("torch", "torchvision"))

EIGHTHS = Encoder("raft_eighths", 1, RAFT, partial(_run, fraction=0.05, ends=False), views=(Frames(STRIDE),))
"""Frames an eighth of a second apart -> mean of the largest 5 % of flow magnitudes per pair, (F - 1,)."""

NEIGHBOURS = Encoder("raft_neighbours", 1, RAFT, partial(_run, fraction=0.02, ends=True), views=(Frames(All()),))
"""All frames -> mean of the largest 2 % per pair of neighbours, then first to last and last to first, (T + 1,)."""
