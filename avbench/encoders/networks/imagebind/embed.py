"""Embed the images, sounds and captions of several clips, each distinct input once per clip."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from avbench.encoders.base import ClipInput
from avbench.encoders.batching import batch_for, batched
from avbench.encoders.images import SIDE
from avbench.encoders.networks.imagebind.geometry import clip_ends, crop_corners
from avbench.encoders.networks.imagebind.inputs import Samples, mel_spectrograms, normalise_images, plan_audio
from avbench.encoders.networks.imagebind.network import ImageBind
from avbench.encoders.networks.imagebind.tokens import count_tokens, tokenize
from avbench.encoders.texts import with_counts

Embeddings = list[NDArray[np.float32]]

_NAME = "imagebind"

Still = tuple[NDArray[np.uint8], int]
Pair = tuple[NDArray[np.float32], tuple[int, int], tuple[int, int]]


def _batch(network: ImageBind) -> int:
    return batch_for(network.device_and_dtype[0], cpu=8, gpu=32)


def embed_videos(network: ImageBind, clips: Sequence[ClipInput]) -> Embeddings:
    """(D,) per clip: mean over five clips of 2 s and three crops of each, equal ones embedded once."""
    plans = [_plan_video(clip) for clip in clips]

    def forward(items: list[Pair]) -> Tensor:
        device, dtype = network.device_and_dtype
        pairs = normalise_images([_cut_pair(item) for item in items], device)  # (B, 2, 224, 224, 3)
        return network.embed_images(pairs.permute(0, 4, 1, 2, 3).to(dtype))

    rows = batched(forward, [pairs for pairs, _ in plans], _batch(network), _NAME)
    # Each pair has the same number of crops, so the mean of crop means is the mean over all.
    return [
        np.asarray(part.reshape(max(indices) + 1, -1, part.shape[-1]).mean(axis=1)[indices].mean(axis=0))
        for part, (_, indices) in zip(rows, plans, strict=True)
    ]


def _plan_video(clip: ClipInput) -> tuple[list[Pair], list[int]]:
    """Distinct (frames, first and last index in them, corner), pair by pair; and each clip's pair."""
    assert clip.video is not None
    frames = clip.views[0]
    ends = clip_ends(len(clip.video.times), clip.video.fps)
    position = {index: position for position, index in enumerate(sorted({index for pair in ends for index in pair}))}
    distinct = list(dict.fromkeys(ends))
    corners = crop_corners(frames.shape[1], frames.shape[2], SIDE)
    pairs = [(frames, (position[first], position[last]), corner) for first, last in distinct for corner in corners]
    return pairs, [distinct.index(pair) for pair in ends]


def _cut_pair(item: Pair) -> NDArray[np.float32]:
    frames, ends, (top, left) = item
    return np.stack([frames[end, top : top + SIDE, left : left + SIDE] for end in ends])  # (2, 224, 224, 3)


def embed_frames(network: ImageBind, clips: Sequence[ClipInput]) -> Embeddings:
    """Unit vectors (T, D) per clip; equal frames of a clip are embedded once."""
    plans = [_plan_frames(clip.views[0]) for clip in clips]

    def forward(items: list[Still]) -> Tensor:
        device, dtype = network.device_and_dtype
        stills = normalise_images([frames[index] for frames, index in items], device)  # (B, 224, 224, 3)
        return network.embed_images(stills.permute(0, 3, 1, 2).to(dtype))

    rows = batched(forward, [stills for stills, _ in plans], _batch(network), _NAME)
    return [part[indices] for part, (_, indices) in zip(rows, plans, strict=True)]


def _plan_frames(frames: NDArray[np.uint8]) -> tuple[list[Still], list[int]]:
    """Distinct (frames, index), and the index of each frame among them."""
    known: dict[bytes, int] = {}
    stills: list[Still] = []
    indices = []
    for index, frame in enumerate(frames):
        digest = hashlib.sha256(frame.tobytes()).digest()
        if digest not in known:
            known[digest] = len(stills)
            stills.append((frames, index))
        indices.append(known[digest])
    return stills, indices


def embed_audio(network: ImageBind, clips: Sequence[ClipInput], *, ib_inplace_mean: bool) -> Embeddings:
    """(1 + W, D) per clip: the mean over three clips of 2 s, then each window; no row below 25 ms of sound."""
    plans = [plan_audio(np.asarray(clip.views[0]), ib_inplace_mean=ib_inplace_mean) for clip in clips]

    def forward(items: list[Samples]) -> Tensor:
        device, dtype = network.device_and_dtype
        return network.embed_mels(mel_spectrograms(items, device).to(dtype))

    rows = batched(forward, [plan.slices for plan in plans], _batch(network), _NAME)
    return [
        np.concatenate([part[plan.clips].mean(axis=0, keepdims=True), part[plan.windows]]) if plan.slices else part
        for part, plan in zip(rows, plans, strict=True)
    ]


def embed_texts(network: ImageBind, clips: Sequence[ClipInput], *, ib_text_truncation: bool) -> Embeddings:
    """(D + 1,) per clip: the embedding of its text, then how many tokens the whole text has."""

    def forward(items: list[str]) -> Tensor:
        tokens = tokenize(items, ib_text_truncation=ib_text_truncation)
        embeddings = network.embed_tokens(tokens.to(network.device_and_dtype[0]))
        return with_counts(embeddings, [count_tokens(text) for text in items])

    rows = batched(forward, [[clip.text or ""] for clip in clips], _batch(network), _NAME)
    return [part[0] for part in rows]
