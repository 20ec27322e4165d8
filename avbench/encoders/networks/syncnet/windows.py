"""Windows of 0.2 s of lips and sound, and how far each lies from the windows of sound around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.networks.syncnet.mfcc import RATE, Coefficients

FPS = 25
REACH = 15
"""Shifts that are tried in each direction, in frames of 40 ms."""
FRAMES, COLUMNS = 5, 20
SAMPLES = RATE // FPS

_PER_FRAME = COLUMNS // FRAMES
_EPSILON = np.float32(1e-6)


def row_count(frames: int, samples: int) -> int:
    """Windows that lips and sound share; the reference leaves out the last one that would fit."""
    return max(0, min(frames, samples // SAMPLES) - FRAMES)


def sixteen_bit(sound: NDArray[np.float32]) -> NDArray[np.int16]:
    """Sound in -1..1 as the values of a 16-bit file."""
    return np.clip(np.rint(sound * 32768), -32768, 32767).astype(np.int16)


def audio_windows(coefficients: Coefficients, rows: int) -> NDArray[np.float32]:
    """The first windows (rows, 1, 13, 20) of coefficients (13, N)."""
    windows = [coefficients[None, :, _PER_FRAME * row : _PER_FRAME * row + COLUMNS] for row in range(rows)]
    return np.array(windows, dtype=np.float32).reshape(rows, 1, len(coefficients), COLUMNS)


def cut_audio(sound: NDArray[np.float32], begin: int, count: int) -> NDArray[np.float32]:
    """Up to `count` samples from sample `begin` on, with zeros before the sound and nothing after it."""
    zeros = np.zeros(min(max(-begin, 0), count), dtype=np.float32)
    return np.concatenate([zeros, sound[max(begin, 0) : max(begin + count, 0)]])


def distances(lips: NDArray[np.float32], sounds: NDArray[np.float32], reach: int = REACH) -> NDArray[np.float32]:
    """Distance of each window of lips (n, D) from the sound of each shift, (n, 2 reach + 1).

    Column `reach` compares windows of the same time; those after it compare with later sound. Where there is no sound
    the reference compares with zeros.
    """
    padded = np.pad(sounds, ((reach, reach), (0, 0)))
    table = np.zeros((len(lips), 2 * reach + 1), dtype=np.float32)
    for column in range(2 * reach + 1):
        # torch's pairwise distance adds this to every difference.
        table[:, column] = np.linalg.norm(lips - padded[column : column + len(lips)] + _EPSILON, axis=1)
    return table
