"""Cepstral coefficients of sound as SyncNet reads them: python_speech_features 0.6 with its defaults, rederived."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
COEFFICIENTS = 13
_WINDOW, _HOP, _FFT, _BANDS = 400, 160, 512, 26
_EMPHASIS, _LIFTER = 0.97, 22
_LEAST = np.finfo(np.float64).eps

Coefficients = NDArray[np.float64]


def mfcc(sound: NDArray[np.int16]) -> Coefficients:
    """Coefficients (13, N) at every 10 ms of mono sound (samples,) at 16 kHz; the first is the log of the energy.

    Values are those of a 16-bit file: in -1..1 the first coefficient would be 20.8 lower.
    """
    from scipy.fft import dct

    power = _power(_windows(sound.astype(np.float64)))  # (N, 257)
    energy = np.maximum(power.sum(axis=1), _LEAST)
    bands = power @ _triangles().T
    cepstrum = dct(np.log(np.where(bands == 0, _LEAST, bands)), type=2, axis=1, norm="ortho")[:, :COEFFICIENTS]
    number = np.arange(COEFFICIENTS)
    cepstrum *= 1 + _LIFTER / 2 * np.sin(np.pi * number / _LIFTER)
    cepstrum[:, 0] = np.log(energy)
    return np.asarray(cepstrum.T)


def _windows(sound: Coefficients) -> Coefficients:
    """Pre-emphasised windows (N, 400), the last ones filled with zeros."""
    emphasised = np.append(sound[:1], sound[1:] - _EMPHASIS * sound[:-1])
    count = 1 + max(0, -(-(len(sound) - _WINDOW) // _HOP))
    filled = np.pad(emphasised, (0, max(0, (count - 1) * _HOP + _WINDOW - len(sound))))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(filled, _WINDOW)[::_HOP][:count])


def _power(windows: Coefficients) -> Coefficients:
    return np.asarray(np.abs(np.fft.rfft(windows, _FFT, axis=1)) ** 2 / _FFT)


@cache
def _triangles() -> Coefficients:
    """Triangles of equal width in mel, 0 to 8 kHz, with corners on whole bins, (26, 257)."""
    highest = 2595 * np.log10(1 + RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, highest, _BANDS + 2) / 2595) - 1)
    bins = np.floor((_FFT + 1) * corners / RATE)
    at = np.arange(_FFT // 2 + 1)
    low, middle, high = bins[:-2, None], bins[1:-1, None], bins[2:, None]
    rising = (at >= low) & (at < middle)
    falling = (at >= middle) & (at < high)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(rising, (at - low) / (middle - low), 0) + np.where(falling, (high - at) / (high - middle), 0)
