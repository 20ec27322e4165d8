"""Band-limited resampling with a windowed sinc, as the reference projects' audio loaders do it."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ZERO_CROSSINGS = 6
ROLLOFF = 0.99


def resample_sinc(waveform: NDArray[np.float32], rate_in: int, rate_out: int) -> NDArray[np.float32]:
    """Resample with a Hann-windowed sinc of six zero crossings that rolls off at 0.99 of the lower Nyquist rate.

    Equals `torchaudio.functional.resample` with its default arguments. Silence is assumed outside the signal.

    Args:
        waveform: (C, N).
        rate_in, rate_out: samples per second.

    Returns:
        (C, ceil(N * rate_out / rate_in)); the input itself when the rates are equal.

    Raises:
        ValueError: a rate is not positive.

    Source: Smith, "Digital audio resampling"; torchaudio.functional.resample.
    """
    if rate_in <= 0 or rate_out <= 0:
        raise ValueError(f"rates must be positive, got {rate_in} and {rate_out}")
    if rate_in == rate_out or waveform.shape[-1] == 0:
        return waveform
    from scipy.signal import upfirdn

    divisor = math.gcd(rate_in, rate_out)
    down, up = rate_in // divisor, rate_out // divisor
    count = -(-waveform.shape[-1] * up // down)
    kernel, delay = _kernel(down, up)
    return np.ascontiguousarray(upfirdn(kernel, waveform, up, down, axis=-1)[:, delay : delay + count])


@lru_cache(maxsize=8)
def _kernel(down: int, up: int) -> tuple[NDArray[np.float32], int]:
    """Impulse response on the grid of `down * up` points per second of the reduced rates, and its delay.

    The delay is in output samples, so the response starts with zeros up to a multiple of `down`. Times are rounded
    in float32 in the order of the reference: it computes the response at float32, and rounding each time against
    the phase of its output sample is worth 1e-5 of full scale at 44.1 kHz.
    """
    cutoff = min(down, up) * ROLLOFF
    half = int(ZERO_CROSSINGS * down * up / cutoff)
    taps = np.arange(-half, half + 1)
    phase = taps * (pow(down, -1, up) if up > 1 else 0) % up
    tap = (phase * down - taps) // up
    time = np.float32(-1) * phase.astype(np.float32) / np.float32(up) + tap.astype(np.float32) / np.float32(down)
    time = np.clip(time * np.float32(cutoff), -ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = np.cos(time * np.float32(math.pi) / np.float32(ZERO_CROSSINGS) / np.float32(2)) ** 2
    angle = time * np.float32(math.pi)
    sinc = np.where(angle == 0, np.float32(1), np.sin(angle) / np.where(angle == 0, np.float32(1), angle))
    response = (sinc * (window * np.float32(cutoff / down))).astype(np.float32)
    delay = -(-half // down)
    return np.concatenate([np.zeros(delay * down - half, dtype=np.float32), response]), delay
