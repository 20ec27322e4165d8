"""Features for the judges of the miniature world: path of the shape, contacts, spectrum of the sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

_STEP = 0.01
"""Seconds between values of an envelope."""
_SMOOTH = 0.04  # seconds; longer than the beat of the two partials of any sound of the world


@dataclass(frozen=True)
class Sight:
    """Position and contrast of the shape in each frame.

    Attributes:
        cover: how much of each pixel belongs to it, (T, H, W) in [0, 1].
        contrast: distance of each pixel from the colour of the room, (T, H, W).
        colour: its mean colour in each frame, (T, 3) in [0, 1].
        mass: its area in pixels in each frame, (T,).
        centre: its centre in each frame, row and column, (T, 2) in pixels.
    """

    cover: NDArray[np.float32]
    contrast: NDArray[np.float32]
    colour: NDArray[np.float32]
    mass: NDArray[np.float32]
    centre: NDArray[np.float32]


def look(frames: NDArray[np.uint8]) -> Sight:
    """Find the shape: what stands out from the most common colour of the clip.

    Args:
        frames: uint8 (T, H, W, 3).
    """
    pixels = frames.astype(np.float32) / 255  # (T, H, W, 3)
    room = np.median(pixels[::2, ::2, ::2].reshape(-1, 3), axis=0)
    contrast = np.sqrt(((pixels - room) ** 2).sum(axis=3))  # (T, H, W)
    strongest = max(float(np.partition(contrast[:, ::2, ::2].ravel(), -50)[-50]), 0.05)
    return measured(np.clip(contrast * (2.5 / strongest) - 0.75, 0, 1), contrast, pixels)


def measured(cover: NDArray[np.float32], contrast: NDArray[np.float32], pixels: Array) -> Sight:
    """Area, colour and centre of what covers some pixels, (T, H, W), of a clip (T, H, W, 3) in [0, 1]."""
    mass = cover.sum(axis=(1, 2))
    safe = np.maximum(mass, 1e-3)
    rows, columns = (np.arange(side, dtype=np.float32) for side in cover.shape[1:])
    down = (cover.sum(axis=2) @ rows) / safe
    right = (cover.sum(axis=1) @ columns) / safe
    colour = np.einsum("thw,thwc->tc", cover, pixels) / safe[:, None]
    return Sight(cover, contrast, colour, mass, np.stack([down, right], axis=1))


@dataclass(frozen=True)
class Envelope:
    """How strongly something happens, over time.

    Attributes:
        times: seconds, equally spaced, (K,).
        values: at least 0, (K,).
    """

    times: Array
    values: Array


def seen_impacts(sight: Sight, fps: float) -> Envelope:
    """Sudden changes of the shape's velocity, one value per frame but the first and the last, in pixels per frame.

    A contact between two frames is split over both in proportion, so its time is kept finer than a frame.
    """
    count = len(sight.centre)
    bend = np.diff(sight.centre.astype(np.float64), n=2, axis=0) if count > 2 else np.zeros((0, 2))
    # Gravity bends the path downwards all the time; the floor only ever throws upwards.
    values = np.hypot(np.minimum(bend[:, 0], 0), bend[:, 1])
    return Envelope((np.arange(1, count - 1) + 0.5) / fps, values)


def loudness(waveform: NDArray[np.float32], sample_rate: int) -> Envelope:
    """Root mean square of the sound about each hundredth of a second."""
    block = max(1, round(_STEP * sample_rate))
    mono = waveform.mean(axis=0, dtype=np.float64)
    count = len(mono) // block
    power = (mono[: count * block].reshape(count, block) ** 2).mean(axis=1)
    window = np.hanning(round(_SMOOTH / _STEP) + 3)[1:-1]
    half = len(window) // 2  # mode "same" would return the longer of the two
    smooth = np.convolve(power, window / window.sum())[half : half + count] if count else power
    return Envelope((np.arange(count) + 0.5) * _STEP, np.sqrt(smooth))


def heard_impacts(waveform: NDArray[np.float32], sample_rate: int) -> Envelope:
    """Rises of the loudness, from one hundredth of a second to the next."""
    level = loudness(waveform, sample_rate)
    rise = np.maximum(np.diff(level.values, prepend=level.values[:1]), 0)
    # The smoothing window lets a contact rise a little before it happens.
    return Envelope(level.times, rise)


def power_spectrum(waveform: NDArray[np.float32], sample_rate: int) -> tuple[Array, Array]:
    """Frequencies in hertz and the power at each, summed over the clip in windows of a twentieth of a second."""
    size = round(0.05 * sample_rate)
    mono = np.ascontiguousarray(waveform.mean(axis=0))
    if len(mono) < size:
        mono = np.pad(mono, (0, size - len(mono)))
    windows = np.lib.stride_tricks.sliding_window_view(mono, size)[:: size // 2]
    spectrum = np.fft.rfft(windows * np.hanning(size).astype(np.float32), axis=1)
    power = (spectrum.real.astype(np.float64) ** 2 + spectrum.imag.astype(np.float64) ** 2).sum(axis=0)
    return np.fft.rfftfreq(size, 1 / sample_rate), power
