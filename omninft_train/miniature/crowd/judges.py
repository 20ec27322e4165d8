"""Rewards of the crowd.

As in the first world, see `omninft_train.miniature.judges`: functions with soft values in [0, 1]; what a prompt does
not say is not judged. It names shapes behind their colours, by which they are told apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from omninft_train.miniature import judges
from omninft_train.miniature.crowd.prompts import Cast, understand
from omninft_train.miniature.hearing import Sight, heard_impacts, measured, seen_impacts
from omninft_train.miniature.judges import (
    Frames,
    Waveform,
    agreement,
    colour_match,
    fall,
    mean,
    rise,
    shape_match,
    sharpness,
    steadiness,
    visible,
)
from omninft_train.miniature.world import COLOURS, TIMBRE_OF_SHAPE, Subject

SPEED_OF: Mapping[str, tuple[float, float]] = MappingProxyType({"slowly": (23.0, 36.0), "quickly": (36.0, 56.0)})
"""Lowest and highest mean speed of a shape in pixels per second, as frames show it; nearly all scenes lie within."""
_ANY_SPEED = (min(low for low, _ in SPEED_OF.values()), max(high for _, high in SPEED_OF.values()))
_MARGIN, _WIDTH = 0.12, 0.08  # of the soft bounds of a speed, in logarithms: distance of the middle, and width
_COLOURS = np.array(list(COLOURS.values()), np.float32)


@dataclass(frozen=True)
class Crowd:
    """What is seen of a clip.

    Attributes:
        shapes: the shapes that the prompt names.
        whole: all that stands out.
        sounding: the shape that is to sound; all that stands out where the prompt does not tell.
    """

    shapes: dict[str, Sight]
    whole: Sight
    sounding: Sight


def look_around(frames: Frames, cast: Cast) -> Crowd:
    """Find the shapes of a cast by their colours.

    A pixel belongs to the colour of the world that explains it best, by as much as it differs from the room.
    """
    pixels = frames.astype(np.float32) / 255
    room = np.median(pixels[::2, ::2, ::2].reshape(-1, 3), axis=0)
    offset = pixels - room  # (T, H, W, 3)
    directions = _COLOURS - room
    lengths = np.sqrt((directions**2).sum(axis=1))
    along = np.maximum(offset @ (directions / lengths[:, None]).T, 0)  # (T, H, W, colours)
    # Of the lines from the room to each colour, the nearest is the one along which a pixel reaches furthest.
    nearest = along.argmax(axis=-1)
    contrast = np.sqrt((offset**2).sum(axis=-1))
    covers = {colour: _cover(along[..., k] / lengths[k] * (nearest == k)) for k, colour in enumerate(COLOURS)}
    sights = {shape: measured(covers[colour], contrast, pixels) for shape, colour in cast.colours.items()}
    whole = measured(np.maximum.reduce(list(covers.values())), contrast, pixels)
    return Crowd(sights, whole, sights.get(cast.sounding or "", whole))


def _cover(amount: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of each pixel is covered, (T, H, W), from how much of a colour it has; pale shapes count in full."""
    strongest = max(float(np.partition(amount[:, ::2, ::2].ravel(), -12)[-12]), 0.5)
    cover: NDArray[np.float32] = np.clip(amount * (2.5 / strongest) - 0.75, 0, 1).astype(np.float32)
    return cover


def picture(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Colours and shapes as prompted, sharp edges, and a steady picture: the mean of four parts."""
    return mean(video_parts(frames, prompt_text))


def video_parts(frames: Frames, prompt_text: str) -> dict[str, float]:
    """The parts of `picture`; of a prompt that names no shape, only steadiness is left."""
    cast = understand(prompt_text)
    crowd = look_around(frames, cast)
    parts = {"steadiness": visible(crowd.whole) * steadiness(crowd.whole)}
    if crowd.shapes:
        shown = [(visible(sight), shape, sight) for shape, sight in crowd.shapes.items()]
        parts["sharpness"] = fmean(there * sharpness(sight) for there, _, sight in shown)
        parts["colour"] = fmean(there * colour_match(sight, cast.colours[shape]) for there, shape, sight in shown)
        parts["shape"] = fmean(there * shape_match(sight, Subject(shape=shape)) for there, shape, sight in shown)
    return parts


def motion(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """The sounding shape is as quick as prompted, and the silent ones move: the mean of two parts.

    Too slow and too quick both lose, so that slowness, which makes a picture steady, does not pay.
    """
    cast = understand(prompt_text)
    crowd = look_around(frames, cast)
    bounds = SPEED_OF[cast.speed] if cast.speed else _ANY_SPEED
    parts = {"sounding": visible(crowd.sounding) * _within(mean_speed(crowd.sounding, fps), bounds)}
    silent = [crowd.shapes[shape] for shape in cast.silent]
    if silent:
        parts["silent"] = fmean(visible(sight) * _within(mean_speed(sight, fps), _ANY_SPEED) for sight in silent)
    return mean(parts)


def mean_speed(sight: Sight, fps: float) -> float:
    """Mean speed of a shape in pixels per second."""
    steps = np.diff(sight.centre.astype(np.float64), axis=0)
    return float(np.hypot(*steps.T).mean() * fps) if len(steps) else 0.0


def _within(speed: float, bounds: tuple[float, float]) -> float:
    """0.8 and more between the bounds, 0.5 an eighth beyond each."""
    low, high = (math.log(bound) for bound in bounds)
    value = math.log(max(speed, 1e-3))
    return rise(value, low - _MARGIN, _WIDTH) * fall(value, high + _MARGIN, _WIDTH)


def sound(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Pitch and timbre as prompted, purity, and quiet between contacts; see `omninft_train.miniature.judges.sound`."""
    cast = understand(prompt_text)
    heard = " ".join(word for word in (cast.pitch, TIMBRE_OF_SHAPE.get(cast.sounding or "")) if word)
    return judges.sound(frames, fps, waveform, sample_rate, heard)


def sync(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Contacts of the sounding shape are heard when they are seen; silent shapes are not looked at.

    See `omninft_train.miniature.judges.sync`.
    """
    crowd = look_around(frames, understand(prompt_text))
    return agreement(seen_impacts(crowd.sounding, fps), heard_impacts(waveform, sample_rate), fps)
