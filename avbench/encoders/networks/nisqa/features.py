"""What NISQA sees of a sound: mel bands in decibels, cut into overlapping images of 0.15 s."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.mel import slaney_filters

BANDS = 48
STEPS = 15
"""Steps of 10 ms in one image."""
_FFT = 4096
_HOP_S, _WINDOW_S = 0.01, 0.02
# Magnitudes below this floor, and more than 80 dB below the loudest, are all the same to the network.
_FLOOR, _DEPTH_DB = 1e-4, 80.0

Samples = NDArray[np.float32]


def mel_decibels(sound: Samples, rate: int, highest_hz: float) -> NDArray[np.float32]:
    """Mel bands (48, T) of a sound (N,) in dB re 1, a step each 10 ms; windows of 20 ms, ends mirrored."""
    hop, length = int(rate * _HOP_S), int(rate * _WINDOW_S)
    padded = np.pad(sound, _FFT // 2, mode="reflect")
    # The window lies in the middle of the transform; the zeros around it do not move magnitudes.
    middle = padded[(_FFT - length) // 2 :]
    count = 1 + len(sound) // hop
    frames = np.lib.stride_tricks.sliding_window_view(middle, length)[::hop][:count]  # (T, window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    magnitude = np.abs(np.fft.rfft(frames * hann, _FFT, axis=1))  # (T, 2049)
    decibels = 20 * np.log10(np.maximum(slaney_filters(rate, _FFT, BANDS, highest_hz) @ magnitude.T, _FLOOR))
    return np.asarray(np.maximum(decibels, decibels.max() - _DEPTH_DB), dtype=np.float32)


def images(decibels: NDArray[np.float32], every: int) -> NDArray[np.float32]:
    """Stretches of 15 steps that begin at every `every`-th step: (48, T) -> (W, 1, 48, 15)."""
    views = np.lib.stride_tricks.sliding_window_view(decibels, STEPS, axis=1)  # (48, T - 14, 15)
    return np.ascontiguousarray(views[:, ::every].transpose(1, 0, 2)[:, None])
