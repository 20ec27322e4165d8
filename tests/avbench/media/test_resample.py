"""Sinc resampling against its formula, a sine, and the reference's own numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from avbench.media.resample import resample_sinc

PLACES = [0, 1, 3, 6, -2, -1]
# From torchaudio 2.4.1: functional.resample(input_signal(), ...) at PLACES.
REFERENCE = {
    (48000, 16000): (
        [0.3056123, 0.1593919, 0.5596911, -0.2801711, -0.4923763, 0.1739212],
        [-0.1245452, -0.0662612, -0.04650326, 0.01672452, 0.1389949, -0.02259223],
    ),
    (44100, 16000): (
        [0.2530785, 0.3328113, 0.5968479, 0.4895202, -0.5724167, 0.2097687],
        [-0.1441163, -0.04561361, -0.03519982, 0.02859123, 0.1635481, -0.03701273],
    ),
    (8000, 16000): (
        [0.001799007, 0.2474587, 0.7081766, 0.2983062, 0.5790774, 0.3326955],
        [-0.5003542, -0.4594514, 0.3110841, -0.2727019, 0.112021, 0.161509],
    ),
}


def input_signal() -> NDArray[np.float32]:
    t = np.arange(37)
    return np.stack([np.sin(t * 0.9) * 0.7, ((t * 7919) % 101 / 50 - 1) * 0.5]).astype(np.float32)


def direct(signal: NDArray[np.float32], rate_in: int, rate_out: int) -> NDArray[np.float64]:
    """Each output sample as a sum over all input samples, in float64."""
    cutoff = 0.99 * min(rate_in, rate_out)
    count = math.ceil(len(signal) * rate_out / rate_in)
    distance = cutoff * (np.arange(len(signal))[None] / rate_in - np.arange(count)[:, None] / rate_out)
    kernel = np.sinc(distance) * np.cos(np.pi * distance / 12) ** 2 * (np.abs(distance) < 6) * cutoff / rate_in
    return np.asarray(kernel @ signal.astype(np.float64))


@pytest.mark.parametrize(("rates", "expected"), REFERENCE.items(), ids=str)
def test_equals_the_reference(rates: tuple[int, int], expected: tuple[list[float], list[float]]) -> None:
    np.testing.assert_allclose(resample_sinc(input_signal(), *rates)[:, PLACES], expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize(
    "rates", [(48000, 16000), (44100, 16000), (22050, 16000), (16000, 48000), (11025, 16000), (44100, 48000)]
)
def test_equals_the_formula(rates: tuple[int, int]) -> None:
    signal = np.random.default_rng(0).uniform(-1, 1, 3000).astype(np.float32)
    # The formula's times are in float64; the reference's, and so ours, in float32: worth up to 4e-5 here.
    np.testing.assert_allclose(resample_sinc(signal[None], *rates)[0], direct(signal, *rates), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rates", [(48000, 16000), (44100, 16000), (8000, 16000)])
def test_a_sine_keeps_frequency_phase_and_height(rates: tuple[int, int]) -> None:
    rate_in, rate_out = rates
    sine = np.sin(2 * np.pi * 440 * np.arange(rate_in) / rate_in).astype(np.float32)
    expected = np.sin(2 * np.pi * 440 * np.arange(rate_out) / rate_out)
    np.testing.assert_allclose(resample_sinc(sine[None], *rates)[0, 100:-100], expected[100:-100], atol=5e-3)


def test_removes_what_the_lower_rate_cannot_hold() -> None:
    sine = np.sin(2 * np.pi * 12000 * np.arange(48000) / 48000).astype(np.float32)
    assert np.abs(resample_sinc(sine[None], 48000, 16000)[0, 100:-100]).max() < 3e-3


@pytest.mark.parametrize("rates", [(48000, 16000), (44100, 16000), (8000, 16000), (44101, 16000)])
@pytest.mark.parametrize("count", [1, 2, 3, 441, 1000])
def test_length_and_type(rates: tuple[int, int], count: int) -> None:
    rate_in, rate_out = rates
    out = resample_sinc(np.ones((2, count), dtype=np.float32), rate_in, rate_out)
    assert out.shape == (2, math.ceil(count * rate_out / rate_in))
    assert out.dtype == np.float32


def test_equal_rates_change_nothing() -> None:
    signal = input_signal()
    assert resample_sinc(signal, 16000, 16000) is signal


@pytest.mark.parametrize("rates", [(0, 16000), (16000, -1)])
def test_impossible_rates_are_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        resample_sinc(input_signal(), *rates)
