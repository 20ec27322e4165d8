"""Whisper's input: log-mel spectrograms of 30 s of sound, and where longer sound is cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.mel import slaney_filters

RATE = 16000
WINDOW_S = 30
HOP = 160
_WINDOW = WINDOW_S * RATE
_FFT = 400
# A cut is looked for in the last five seconds of a window, at the quietest tenth of a second.
_SEARCHED, _STEP = 5 * RATE, RATE // 10

Samples = NDArray[np.float32]


def log_mel(sound: Samples, mels: int) -> NDArray[np.float32]:
    """Log-mel spectrogram (mels, 3000) of up to 30 s at 16 kHz (N,), zeros behind its end.

    Frames of 25 ms every 10 ms, Hann, power, Slaney's triangles of equal area from 0 to 8 kHz; log10, cut 8 below the
    maximum, then (x + 4) / 4.
    """
    padded = np.zeros(_WINDOW, dtype=np.float32)
    padded[: min(len(sound), _WINDOW)] = sound[:_WINDOW]
    padded = np.pad(padded, _FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::HOP][:-1]  # (3000, 400)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2  # (3000, 201)
    mel = np.log10(np.maximum(slaney_filters(RATE, _FFT, mels, RATE / 2) @ power.T, 1e-10))
    return np.asarray((np.maximum(mel, mel.max() - 8) + 4) / 4, dtype=np.float32)


def pieces(sound: Samples) -> list[tuple[int, int]]:
    """First and last sample + 1 of stretches of at most 30 s; longer sound is cut where it is quiet."""
    spans, start = [], 0
    while len(sound) - start > _WINDOW:
        first = start + _WINDOW - _SEARCHED
        power = np.square(sound[first : start + _WINDOW], dtype=np.float64).reshape(-1, _STEP).mean(axis=1)
        end = first + int(np.argmin(power)) * _STEP + _STEP // 2
        spans.append((start, end))
        start = end
    return [*spans, (start, len(sound))] if len(sound) > start else spans
