"""Mel filters on Slaney's scale, as librosa makes them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

# Linear up to 1 kHz (200/3 Hz per mel), then 27 steps per factor 6.4.
_HZ_PER_MEL, _KNEE_HZ, _LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27
_KNEE = _KNEE_HZ / _HZ_PER_MEL


@cache
def slaney_filters(rate: int, size: int, bands: int, highest_hz: float) -> NDArray[np.float64]:
    """Triangles of equal area from 0 Hz up, (bands, size // 2 + 1).

    Args:
        rate: samples per second.
        size: length of the Fourier transform.
        bands: number of triangles.
        highest_hz: upper end of the last one; triangles above half the rate are empty.
    """
    edges = _hertz(np.linspace(0, _mel(highest_hz), bands + 2))
    bins = np.fft.rfftfreq(size, 1 / rate)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    area = (2 / (edges[2:] - edges[:-2]))[:, None]
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * area)


def _mel(hertz: float) -> float:
    return hertz / _HZ_PER_MEL if hertz < _KNEE_HZ else float(_KNEE + np.log(hertz / _KNEE_HZ) / _LOG_STEP)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < _KNEE, mel * _HZ_PER_MEL, _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE)))
