"""Sound onsets: onset strength and onset times in plain NumPy, equal to librosa's defaults.

Source: librosa 0.9-0.11 `onset.onset_strength`, `onset.onset_detect` (ISC licence): formulas and
constants, held to its numbers by tests. Not a metric by itself; `av_align` and `av_offset` use it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Signal = NDArray[np.float32]


def onset_strength(sound: Signal, rate: int, *, n_fft: int = 2048, hop: int = 512) -> Signal:
    """Spectral flux in decibels, averaged over 128 mel bands.

    Args:
        sound: mono (N,), nominally in [-1, 1].
        rate: samples per second.
        n_fft: samples per spectrum.
        hop: samples between spectra.

    Returns:
        (1 + N // hop,) non-negative; index i belongs to time i * hop / rate.
    """
    from scipy.fft import rfft

    padded = np.pad(sound, n_fft // 2)
    frames = sliding_window_view(padded, n_fft)[::hop]  # (L, n_fft)
    # Periodic Hann, as scipy.signal.get_window makes it; importing scipy.signal costs half a second.
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)
    spectrum = np.abs(rfft(frames * window, axis=1)) ** 2  # (L, n_fft/2 + 1)
    mel = spectrum @ mel_filters(rate, n_fft).T  # (L, 128)
    decibel = 10.0 * np.log10(np.maximum(mel, 1e-10))
    decibel = np.maximum(decibel, decibel.max() - 80.0)
    flux = np.maximum(np.diff(decibel, axis=0), 0.0).mean(axis=1)
    # One step for the difference, and half a spectrum because spectra are centred.
    delay = 1 + n_fft // (2 * hop)
    return np.pad(flux, (delay, 0))[: len(decibel)].astype(np.float32)


def onset_times(strength: Signal, rate: int, *, hop: int = 512) -> NDArray[np.float64]:
    """Onset times in seconds: local maxima of the normalised strength above the local mean plus 0.07.

    Args:
        strength: what `onset_strength` returned, (L,).
        rate: samples per second of the sound.
        hop: samples between the values of `strength`.

    Returns:
        (n,) ascending; empty when nothing rises.
    """
    from scipy.ndimage import maximum_filter1d

    if not strength.any():
        return np.zeros(0)
    curve = strength - strength.min()
    curve = curve / (curve.max() + np.finfo(np.float32).tiny)
    before_max, before_mean = int(0.03 * rate // hop), int(0.10 * rate // hop)
    after_mean = before_mean + 1
    wait = int(0.03 * rate // hop)
    # Maximum over [n - before_max, n], mean over [n - before_mean, n + after_mean), cut at both ends.
    size = before_max + 1
    highest = maximum_filter1d(curve, size, mode="constant", cval=0.0, origin=before_max - size // 2)
    sums = np.concatenate([[0.0], np.cumsum(curve, dtype=np.float64)])
    index = np.arange(len(curve))
    low, high = np.maximum(index - before_mean, 0), np.minimum(index + after_mean, len(curve))
    mean = (sums[high] - sums[low]) / (high - low)
    peaks: list[int] = []
    for candidate in np.flatnonzero((curve == highest) & (curve >= mean + 0.07)):
        if not peaks or candidate > peaks[-1] + wait:
            peaks.append(int(candidate))
    return np.array(peaks, dtype=np.float64) * hop / rate


@lru_cache(maxsize=8)
def mel_filters(rate: int, n_fft: int, bands: int = 128) -> Signal:
    """Triangular mel filters (bands, n_fft/2 + 1), Slaney scale and area norm, 0 Hz to Nyquist."""
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(rate / 2), bands + 2))
    bins = np.linspace(0.0, rate / 2, n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(weights * (2.0 / (edges[2:] - edges[:-2]))[:, None], dtype=np.float32)


# Slaney's scale: linear below 1 kHz (200/3 Hz per mel), then 27 steps per factor 6.4.
_LINEAR, _KNEE_HZ, _LOG_STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR if hz < _KNEE_HZ else _KNEE_HZ / _LINEAR + float(np.log(hz / _KNEE_HZ)) / _LOG_STEP


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _KNEE_HZ / _LINEAR
    return np.where(mel < knee, mel * _LINEAR, _KNEE_HZ * np.exp(_LOG_STEP * (mel - knee)))
