"""Sound for Audiobox Aesthetics: windows of 10 s, and the preparation that JavisBench does before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avbench.media.resample import resample_sinc

RATE = 16000
WINDOW = 10 * RATE

# JavisBench leaves the length to the command line; this is the value of its README.
MAX_AUDIO_LEN_S = 4.0

Samples = NDArray[np.float32]


def split_windows(sound: Samples) -> list[Samples]:
    """Consecutive windows of 10 s of a sound (N,) at 16 kHz; the last one may be shorter."""
    return [sound[start : start + WINDOW] for start in range(0, len(sound), WINDOW)]


def pad_windows(windows: Sequence[Samples]) -> tuple[Samples, NDArray[np.int64]]:
    """Windows as one array (B, 160000), silence after the shorter ones, and their lengths (B,) in samples."""
    batch = np.zeros((len(windows), WINDOW), dtype=np.float32)
    for row, window in zip(batch, windows, strict=True):
        row[: len(window)] = window
    return batch, np.array([len(window) for window in windows], dtype=np.int64)


def javisbench_audio(
    sound: Samples,
    rate: int,
    *,
    aq_resample_bug: bool = True,
    aq_pad_as_valid: bool = True,
    max_audio_len_s: float = MAX_AUDIO_LEN_S,
) -> Samples:
    """The sound that JavisBench takes for the sound at 16 kHz.

    Args:
        sound: mono (N,) at its own rate.
        rate: samples per second of `sound`.
        aq_resample_bug: resample along the channel axis, as JavisBench does by mistake. Each sample is then a sound
            of its own: it is scaled, and the samples of the native rate pass for samples at 16 kHz.
        aq_pad_as_valid: append silence up to `max_audio_len_s`, which is scored as sound.
        max_audio_len_s: cut after this many seconds.

    Returns:
        (M,).

    Source: JavisDiT eval/javisbench, quirks Q2 and Q16 of the metric specification.
    """
    length = int(RATE * max_audio_len_s)
    prepared = sound * _single_sample_gain(rate) if aq_resample_bug else resample_sinc(sound[None], rate, RATE)[0]
    cut = prepared[:length]
    return np.pad(cut, (0, length - len(cut))) if aq_pad_as_valid else cut


def _single_sample_gain(rate: int) -> np.float32:
    """What a resampled sound of a single sample is worth; below 16 kHz it has several, which are averaged."""
    return np.float32(resample_sinc(np.ones((1, 1), dtype=np.float32), rate, RATE).mean())
