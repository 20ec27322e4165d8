"""Run Synchformer over the segments of several clips. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avbench.encoders.base import ClipInput
from avbench.encoders.batching import batched
from avbench.encoders.networks.synchformer.inputs import log_mel, normalise
from avbench.encoders.networks.synchformer.network import CLASSES, Synchformer
from avbench.encoders.networks.synchformer.segments import (
    Recipe,
    Segments,
    VideoSegment,
    audio_keys,
    blocks,
    cut_segments,
    distinct,
    video_keys,
)

NAME = "synchformer"
# A video segment is 1,569 tokens, an audio segment 74, a block 198.
_VIDEO_BATCH, _AUDIO_BATCH, _BLOCKS = 8, 32, 32

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Description:
    """Features of a clip's segments: `video` (S, 8, D), `audio` (S, 6, D)."""

    video: Features
    audio: Features


def offset_logits(network: Synchformer, clips: Sequence[ClipInput], recipe: Recipe) -> list[Features]:
    """Logits over the 21 offsets for each block of each clip, (blocks, 21); no block for a clip under 0.64 s."""
    described = describe(network, [cut_segments(clip, recipe) for clip in clips])
    return compare(network, described)


def describe(network: Synchformer, clips: Sequence[Segments]) -> list[Description]:
    """Features of all segments. Equal segments of a clip, such as padding or a still, are embedded once."""

    def see(items: list[VideoSegment]) -> Tensor:
        frames = torch.from_numpy(np.stack([item.pixels() for item in items])).to(network.weight.device)
        features: Tensor = network.vfeat_extractor(normalise(frames).to(network.weight.dtype))
        return features

    def hear(items: list[Features]) -> Tensor:
        audio = torch.from_numpy(np.stack(items)).to(network.weight.device)
        features: Tensor = network.afeat_extractor(log_mel(audio).to(network.weight.dtype))
        return features

    seen = _each_once(see, [clip.video for clip in clips], [video_keys(clip) for clip in clips], _VIDEO_BATCH)
    heard = _each_once(hear, [clip.audio for clip in clips], [audio_keys(clip) for clip in clips], _AUDIO_BATCH)
    return [Description(*pair) for pair in zip(seen, heard, strict=True)]


def compare(network: Synchformer, clips: Sequence[Description]) -> list[Features]:
    """Logits (blocks, 21) of each clip."""

    def judge(items: list[Description]) -> Tensor:
        like = network.weight
        seen, heard = (
            torch.from_numpy(np.stack(part)).to(like)
            for part in ([item.video for item in items], [item.audio for item in items])
        )
        return network.compare(seen, heard)

    items = [
        [Description(clip.video[chosen], clip.audio[chosen]) for chosen in blocks(len(clip.video))] for clip in clips
    ]
    return [logits.reshape(-1, CLASSES) for logits in batched(judge, items, _BLOCKS, NAME)]


def _each_once(
    forward: Callable[[list[Any]], Tensor],
    clips: Sequence[Any],
    keys: Sequence[Sequence[Hashable]],
    size: int,
) -> list[Features]:
    """Embed the distinct items of each clip, and put the embeddings at the indices of all its items.

    `clips` holds one list or array of items per clip, `keys` one key per item.
    """
    chosen = [distinct(of_clip) for of_clip in keys]
    items = [[clip[first] for first in firsts] for clip, (firsts, _) in zip(clips, chosen, strict=True)]
    embedded = batched(forward, items, size, NAME)
    return [features[indices] for features, (_, indices) in zip(embedded, chosen, strict=True)]
