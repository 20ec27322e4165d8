"""Rewards of the miniature world; `heldout` has measures that are never rewarded.

All are functions of (frames, fps, waveform, sample_rate, prompt_text) with values in [0, 1], higher is better, without
networks: of frames and their number per second, a waveform and its samples per second, and the words of a prompt, in
any order. Scores are soft: a little less of a fault scores a little more, so that they lead on from bad clips too.
What a prompt does not say is not judged.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omninft_train.miniature.hearing import (
    Envelope,
    Sight,
    heard_impacts,
    look,
    power_spectrum,
    seen_impacts,
)
from omninft_train.miniature.hearing import loudness as loudness_over_time
from omninft_train.miniature.render import coverage
from omninft_train.miniature.world import COLOURS, PITCHES, RADII, SHAPES, TIMBRES, Subject, understand

Frames = NDArray[np.uint8]
"""(T, H, W, 3): 32 pixels a side in the first world, 24 in the crowd."""
Waveform = NDArray[np.float32]
"""(C, N) in [-1, 1]."""
# Pixels; less is seen in part. The smallest shape of the world has 60.
_LEAST_AREA = 20.0


def picture(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Colour and shape as prompted, sharp edges, and a steady picture: the mean of four parts."""
    return mean(video_parts(frames, prompt_text))


def video_parts(frames: Frames, prompt_text: str) -> dict[str, float]:
    """The parts of `picture`, those that the prompt says nothing of left out."""
    wanted, sight = understand(prompt_text), look(frames)
    shown = visible(sight)
    parts = {"sharpness": sharpness(sight), "steadiness": steadiness(sight)}
    if wanted.colour:
        parts["colour"] = colour_match(sight, wanted.colour)
    if wanted.shape:
        parts["shape"] = shape_match(sight, wanted)
    return {name: shown * value for name, value in parts.items()}


def visible(sight: Sight) -> float:
    """Fraction of frames that show anything, or else an empty room would be sharp and steady."""
    return float(np.minimum(sight.mass / _LEAST_AREA, 1).mean())


def colour_match(sight: Sight, colour: str) -> float:
    weights = sight.mass / max(float(sight.mass.sum()), 1e-6)
    error = np.sqrt(((sight.colour - np.array(COLOURS[colour])) ** 2).sum(axis=1))
    return float(weights @ np.exp(-0.5 * (error / 0.3) ** 2))


def shape_match(sight: Sight, wanted: Subject) -> float:
    """How well the wanted shape covers what is seen, and how much better than the other two."""
    area, side = float(np.median(sight.mass)), sight.cover.shape[-1]
    radius = RADII[wanted.size] if wanted.size else float(np.clip(math.sqrt(area / math.pi), 2, side / 3))
    seen = sight.cover - sight.cover.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt((seen**2).sum(axis=(1, 2)))
    fits = {}
    for shape in SHAPES:
        ideal = coverage(shape, radius, sight.centre, side=side)
        ideal -= ideal.mean(axis=(1, 2), keepdims=True)
        overlap = (seen * ideal).sum(axis=(1, 2))
        fits[shape] = float((overlap / (norm * np.sqrt((ideal**2).sum(axis=(1, 2))) + 1e-6)).mean())
    fit = fits.pop(str(wanted.shape))
    margin = fit - max(fits.values())
    return 0.5 * rise(fit, 0.6, 0.12) + 0.5 * rise(margin, 0.0, 0.02)


def sharpness(sight: Sight) -> float:
    """Fraction of the shape's pixels that are clearly inside."""
    half = 4 * sight.cover * (1 - sight.cover)
    # An edge of constant width takes less of a larger shape; the length of its rim goes with the root of its area.
    width = half.sum(axis=(1, 2)) / (np.sqrt(np.maximum(sight.mass, 1)) * 3.5)
    return float(fall(float(width.mean()), 0.9, 0.15))


def steadiness(sight: Sight) -> float:
    """Little change from frame to frame of the room, and of the shape's area and colour."""
    room = sight.cover < 0.02
    both = room[1:] & room[:-1]
    change = np.abs(np.diff(sight.contrast, axis=0))
    grain = float(change[both].mean()) if both.any() else 1.0
    area = float(np.abs(np.diff(sight.mass)).mean() / max(float(sight.mass.mean()), 1))
    colour = float(np.abs(np.diff(sight.colour, axis=0)).mean())
    return math.exp(-grain / 0.06) * math.exp(-area / 0.4) * math.exp(-colour / 0.1)


def sound(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Pitch and timbre as prompted, purity, and quiet between contacts: the mean of three parts."""
    return mean(audio_parts(waveform, sample_rate, prompt_text))


def audio_parts(waveform: Waveform, sample_rate: int, prompt_text: str) -> dict[str, float]:
    """The parts of `sound`, those that the prompt says nothing of left out."""
    wanted = understand(prompt_text)
    level = loudness_over_time(waveform, sample_rate)
    audible = _audible(level)
    parts = {"quiet": audible * _quiet(level)}
    if wanted.pitch and wanted.timbre:
        frequencies, power = power_spectrum(waveform, sample_rate)
        parts["pitch"] = audible * _pitch_match(frequencies, power, wanted)
        parts["purity"] = audible * _purity(frequencies, power, wanted)
    return parts


def _audible(level: Envelope) -> float:
    loudest = float(np.percentile(level.values, 95)) if len(level.values) else 0.0
    return loudest / (loudest + 0.01)


def _quiet(level: Envelope) -> float:
    """How far the quiet fifth of the clip lies below its loud parts."""
    if not len(level.values):
        return 0.0
    low, high = np.percentile(level.values, (20, 95))
    decibels = 20 * math.log10((high + 1e-4) / (low + 1e-4))
    return rise(decibels, 16.0, 5.0)


def _ideal_spectrum(frequencies: NDArray[np.floating[Any]], pitch: str, timbre: str) -> NDArray[np.floating[Any]]:
    """Amplitude of a contact's sound at each frequency, as a window of a twentieth of a second sees it."""
    ratio, amplitude, _ = TIMBRES[timbre]
    first, second = PITCHES[pitch], PITCHES[pitch] * ratio
    width = 18.0
    peaks = np.exp(-0.5 * ((frequencies - first) / width) ** 2)
    return np.asarray(peaks + amplitude * np.exp(-0.5 * ((frequencies - second) / width) ** 2))


def _pitch_match(frequencies: NDArray[np.floating[Any]], power: NDArray[np.floating[Any]], wanted: Subject) -> float:
    """Likeness of the spectrum to the wanted one, and how much better than to any other of the world."""
    heard = np.sqrt(power)
    heard = heard / (np.sqrt((heard**2).sum()) + 1e-9)
    similarity = {}
    for pitch in PITCHES:
        for timbre in TIMBRES:
            ideal = _ideal_spectrum(frequencies, pitch, timbre)
            similarity[pitch, timbre] = float(heard @ ideal / np.sqrt((ideal**2).sum()))
    fit = similarity.pop((str(wanted.pitch), str(wanted.timbre)))
    return 0.5 * fit + 0.5 * rise(fit - max(similarity.values()), 0.0, 0.06)


def _purity(frequencies: NDArray[np.floating[Any]], power: NDArray[np.floating[Any]], wanted: Subject) -> float:
    """Fraction of the power that lies about the wanted partials."""
    near = _ideal_spectrum(frequencies, str(wanted.pitch), str(wanted.timbre))
    return float((power * np.minimum(1.5 * near, 1)).sum() / (power.sum() + 1e-9))


def sync(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Contacts are heard when they are seen.

    Correlation over time of sudden changes of velocity with sudden rises of loudness, at two widths of smoothing; 0 for
    opposite, about 0.2 for unrelated, 1 for the same. The prompt is not looked at.
    """
    return agreement(seen_impacts(look(frames), fps), heard_impacts(waveform, sample_rate), fps)


def agreement(seen: Envelope, heard: Envelope, fps: float) -> float:
    """How well what is seen and what is heard coincide, in [0, 1]; see `sync`."""
    if len(seen.values) < 3 or len(heard.values) < 3:
        return 0.0
    times = np.arange(seen.times[0], min(seen.times[-1], heard.times[-1]), 0.01)
    looks = np.interp(times, seen.times, seen.values)
    # Frames blur a contact over one frame to either side; the sound is blurred alike before the two are compared.
    sounds = np.interp(times, heard.times, _blur(heard.values, np.bartlett(2 * round(100 / fps) + 1)))
    scores = []
    for width in (3, 10):
        window = np.exp(-0.5 * (np.arange(-3 * width, 3 * width + 1) / width) ** 2)
        scores.append(_correlation(_blur(looks, window), _blur(sounds, window)))
    correlation = sum(scores) / len(scores)
    return math.log1p(math.exp(4 * correlation)) / math.log1p(math.exp(4))


def _blur(values: NDArray[np.floating[Any]], window: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    padded = np.pad(values, len(window) // 2)
    return np.convolve(padded, window / window.sum(), mode="valid")


def _correlation(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / (math.sqrt(float(a @ a) * float(b @ b)) + 1e-9))


def rise(value: float, middle: float, width: float) -> float:
    """A soft step up: 0.5 at the middle, 0.73 one width above it."""
    return 1 / (1 + math.exp(min(max((middle - value) / width, -60), 60)))


def fall(value: float, middle: float, width: float) -> float:
    """A soft step down: 0.5 at the middle, 0.27 one width above it."""
    return 1 - rise(value, middle, width)


def mean(parts: dict[str, float]) -> float:
    """Mean of the parts of a reward."""
    return sum(parts.values()) / len(parts)
