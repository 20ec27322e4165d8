"""How well every other frame of a clip can be guessed from the two beside it, by AMT-S."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batch_for, batched
from avbench.encoders.freed_memory import giving_back
from avbench.encoders.pixels import cropped, image_batch, padded_sides, replicate_padded
from avbench.media import All, Frames

if TYPE_CHECKING:
    from torch import Tensor

ROW = "amt_s"
MULTIPLE = 16
SMALLEST = 128
"""Shortest side that metrics take. The coarsest correlations of a shorter padded one have one row: the guess is NaN."""
_BATCH_PIXELS = 2**20

Differences = NDArray[np.float32]


def _load(context: LoadContext) -> Any:
    from avbench.encoders.networks.amt.network import load

    return load(context, ROW)


def large_enough(height: int, width: int) -> bool:
    """Whether AMT gives an image for images of this size, once they are padded."""
    return min(padded_sides(height, width, MULTIPLE)) >= SMALLEST


def guessed(count: int) -> range:
    """Indices of the frames that are guessed: 1, 3 and so on, without a last one that has no successor."""
    return range(1, count - 1, 2)


def _run(network: Any, clips: Sequence[ClipInput]) -> list[Differences]:
    return [_differences(network, clip.views[0]) for clip in clips]


def _differences(network: Any, frames: NDArray[np.uint8]) -> Differences:
    """For each guessed frame the mean of |frame - guess| in 8-bit levels: guess cut to whole levels, guess rounded.

    A batch holds one clip, so no number depends on the clips beside it. Where the network gives NaN, a cut guess is 0.
    """
    import torch

    indices = guessed(len(frames))
    if not indices:
        return np.zeros((0, 2), dtype=np.float32)
    height, width = frames.shape[1:3]
    device, give_back = next(network.parameters()).device, giving_back()

    def guess(chosen: list[int]) -> Tensor:
        sides = (
            replicate_padded(image_batch(frames, [index + step for index in chosen], device) / 255, MULTIPLE)
            for step in (-1, 1)
        )
        return cropped(network(*sides), height, width, MULTIPLE) * 255

    def forward(chosen: list[int]) -> Tensor:
        if device.type == "cpu":
            give_back()
        actual = image_batch(frames, chosen, device)
        levels = guess(chosen) if large_enough(height, width) else torch.zeros_like(actual)
        # Whole numbers, so that the sum over millions of pixels is exact.
        return torch.stack([_mean_difference(actual, guess) for guess in (levels.floor(), levels.round())], dim=1)

    size = batch_for(device, cpu=1, gpu=max(1, _BATCH_PIXELS // (height * width)))
    return batched(forward, [indices], size, ROW)[0]


def _mean_difference(actual: Tensor, guess: Tensor) -> Tensor:
    import torch

    difference = (actual - guess).abs().flatten(1)
    return difference.sum(dim=1, dtype=torch.int64).float() / difference.shape[1]


AMT_S = Backbone(name=ROW, load=_load, row=ROW)

GUESSES = Encoder("amt_guesses", 1, AMT_S, _run, views=(Frames(All()),))
"""All frames -> mean difference of each second frame from the image halfway between its neighbours, (P, 2)."""
