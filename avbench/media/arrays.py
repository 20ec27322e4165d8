"""Frames and sound from memory: what is accepted, and as what."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avbench.media.info import AudioInfo, VideoInfo


def check_frames(frames: ArrayLike | None, fps: float) -> tuple[VideoInfo | None, NDArray[np.uint8] | None]:
    """Frames as uint8 (T, H, W, 3) with their facts.

    Raises:
        ValueError: wrong shape, dtype or rate.
    """
    if frames is None:
        return None, None
    pixels = np.asarray(frames)
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"frames must be uint8 (T, H, W, 3), got {pixels.dtype} {pixels.shape}")
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    count, height, width, _ = pixels.shape
    if count == 0:
        raise ValueError("frames holds no frame; pass None for a clip without picture")
    return VideoInfo(np.arange(count) / fps, float(fps), width, height), pixels


def check_waveform(
    waveform: ArrayLike | None, sample_rate: int | None
) -> tuple[AudioInfo | None, NDArray[np.float32] | None]:
    """Sound as float32 (C, N) with its facts.

    Raises:
        ValueError: wrong shape, dtype or rate.
    """
    if waveform is None:
        return None, None
    if not sample_rate or sample_rate <= 0:
        raise ValueError(f"waveform needs a positive sample_rate, got {sample_rate}")
    sound = np.atleast_2d(np.asarray(waveform, dtype=np.float32))
    if sound.ndim != 2 or sound.shape[1] == 0 or not np.isfinite(sound).all():
        raise ValueError(f"waveform must be finite float (C, N) with N > 0, got shape {sound.shape}")
    return AudioInfo(sample_rate, sound.shape[0], sound.shape[1], source="memory"), sound
