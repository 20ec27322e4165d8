"""Run a network over the items of several clips in batches; halve the batch when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.errors import EnvironmentProblem
from avbench.media.spool import release_pages

if TYPE_CHECKING:
    from torch import Tensor, device

log = logging.getLogger(__name__)

_RELEASE_EVERY = 16
"""Frames that are compared before what was read of their file leaves memory."""


def batched(
    forward: Callable[[list[Any]], Tensor], clips: Sequence[Sequence[Any]], size: int, network: str
) -> list[NDArray[np.float32]]:
    """Embed the items of each clip; a batch may span clips.

    Args:
        forward: items -> embeddings (B, ...), without gradients.
        clips: the items of each clip; only indexed, so they may be memory-mapped.
        size: most items in one forward.
        network: name for messages.

    Returns:
        float32 (items, ...) per clip.

    Raises:
        EnvironmentProblem: out of memory even with one item at a time.
    """
    import torch

    indices = [(clip, item) for clip, items in enumerate(clips) for item in range(len(items))]
    outputs: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        while len(outputs) < len(indices):
            chosen = indices[len(outputs) : len(outputs) + size]
            try:
                result = forward([clips[clip][item] for clip, item in chosen])
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise EnvironmentProblem(
                        f"{network} runs out of memory with a single item. Take precision bf16, keep one network "
                        "loaded (max_resident 1), or take a larger device."
                    ) from error
                size = max(1, size // 2)
                log.warning("%s: out of memory, going on with batches of %d", network, size)
                torch.cuda.empty_cache()
                continue
            outputs.extend(result.float().cpu().numpy())
    counts = np.cumsum([len(items) for items in clips])[:-1]
    empty = np.zeros((0,), dtype=np.float32)
    return [np.stack(part) if part else empty for part in _split(outputs, counts.tolist())]


def batched_frames(
    forward: Callable[[list[Any]], Tensor], frames: NDArray[Any], size: int, network: str
) -> NDArray[np.float32]:
    """Embed all frames (k, ...) of one clip, each run of equal neighbours once: float32 (k, ...).

    Args:
        forward: frames -> embeddings (B, ...), without gradients.
        frames: only indexed, so they may be memory-mapped; those of a file do not stay in memory.
        size: most frames in one forward.
        network: name for messages.

    Raises:
        EnvironmentProblem: out of memory even with one frame at a time.
    """
    firsts, run = runs_of_equal(frames)

    def forward_and_release(chosen: list[Any]) -> Tensor:
        result = forward(chosen)
        release_pages(frames)
        return result

    (rows,) = batched(forward_and_release, [[frames[first] for first in firsts]], size, network)
    return rows[run]


def batch_for(device: device, *, cpu: int, gpu: int) -> int:
    """Items in one forward on this device: on processors what their caches hold, on GPUs few launches."""
    return cpu if device.type == "cpu" else gpu


def runs_of_equal(frames: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Runs of equal neighbours among frames (k, ...): the first frame of each run, and the run of each frame (k,).

    Short and still clips repeat frames; a network needs to see each run once.
    """
    starts = []
    for index in range(len(frames)):
        starts.append(index == 0 or not np.array_equal(frames[index], frames[index - 1]))
        if index % _RELEASE_EVERY == 0:
            release_pages(frames)
    return np.flatnonzero(starts), np.cumsum(starts) - 1


def _split(values: list[NDArray[np.float32]], ends: list[int]) -> list[list[NDArray[np.float32]]]:
    starts = [0, *ends]
    return [values[start:end] for start, end in zip(starts, [*ends, len(values)], strict=True)]
