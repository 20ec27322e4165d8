"""Inputs of CAVP: images of 224 x 224, and a mel spectrogram in decibels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from avbench.media.views import Pixels

RATE = 16000
SIDE = 224
MEL_BANDS = 128

_FFT, _HOP = 1024, 250
_LOWEST_HZ, _HIGHEST_HZ = 125.0, 7600.0
_COLUMNS_PER_STEP = 16


def shrink(rgb: Pixels) -> Pixels:
    """Resize (H, W, 3) to (224, 224, 3) whatever its shape, bilinear with antialiasing."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(rgb))
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.uint8)


def log_mel(waveform: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Mel spectrogram of the first `steps` quarters of a second; -80 dB to +20 dB mapped to 0 to 1 and clipped.

    Args:
        waveform: mono (N,) at 16 kHz, cut or padded with silence.
        steps: quarters of a second.

    Returns:
        (16 * steps, 128).

    Source: JavisDiT eval/javisbench `wav2spec`; librosa's STFT and mel filters.
    """
    if steps == 0:
        return np.zeros((0, MEL_BANDS), dtype=np.float32)
    # One sample less than whole columns, or the centred transform would give one column more.
    length = steps * _COLUMNS_PER_STEP * _HOP - 1
    track = np.zeros(length + _FFT)
    kept = waveform[:length]
    track[_FFT // 2 : _FFT // 2 + len(kept)] = kept
    windowed = sliding_window_view(track, _FFT)[::_HOP] * _hann()  # (columns, 1024)
    mel = np.abs(np.fft.rfft(windowed, axis=1)) @ mel_filters().T  # (columns, 128)
    decibel = 20.0 * np.log10(np.maximum(mel, 1e-5))
    return np.clip((decibel + 80.0) / 100.0, 0.0, 1.0).astype(np.float32)


def _hann() -> NDArray[np.float64]:
    """Periodic Hann window."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_FFT) / _FFT)


@lru_cache(maxsize=1)
def mel_filters() -> NDArray[np.float32]:
    """Triangular mel filters (128, 513) from 125 Hz to 7600 Hz, Slaney's scale and area norm."""
    ends = _hz_to_mel(np.array([_LOWEST_HZ, _HIGHEST_HZ]))
    edges = _mel_to_hz(np.linspace(ends[0], ends[1], MEL_BANDS + 2))
    bins = np.linspace(0.0, RATE / 2, _FFT // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return np.asarray(weights, dtype=np.float32)


# Slaney's scale: linear below 1 kHz (200/3 Hz per mel), then 27 steps per factor 6.4.
_LINEAR, _KNEE_HZ, _LOG_STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27.0


def _hz_to_mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _KNEE_HZ / _LINEAR + np.log(hz / _KNEE_HZ) / _LOG_STEP
    return np.where(hz < _KNEE_HZ, hz / _LINEAR, above)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _KNEE_HZ / _LINEAR
    return np.where(mel < knee, mel * _LINEAR, _KNEE_HZ * np.exp(_LOG_STEP * (mel - knee)))
