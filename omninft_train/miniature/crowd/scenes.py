"""Scenes of the crowd, drawn from a seed, and their clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omninft_train.miniature.codec import Codec
from omninft_train.miniature.crowd.prompts import Cast, casts, describe
from omninft_train.miniature.render import BACKGROUND, contact_sound, coverage, disturbed, frame_times, painted
from omninft_train.miniature.world import (
    FPS,
    SAMPLE_RATE,
    SHAPES,
    SPEEDS,
    TIMBRE_OF_SHAPE,
    Quality,
    draw_contacts,
    draw_quality,
    phase,
)
from omninft_train.models.backbone import Decoded
from omninft_train.prompts import TrainPrompt

VERSION = 2
"""Raised when scenes, their rendering, their words or their latents change."""

SIDE = 24
"""Height and width of a frame in pixels: a lane, 8 wide, for each shape."""
FRAMES = 12
DURATION = FRAMES / FPS
"""Seconds of a clip."""
SAMPLES = int(DURATION * SAMPLE_RATE)
RADIUS = 3.6
"""Pixels from the centre of a shape to its rim; all are alike."""
CODEC = Codec(patch=8, luma=4, chroma=2, unit=0.5, frames=FRAMES, samples=SAMPLES, side=SIDE)

_LANES = (3.5, 11.5, 19.5)  # columns that shapes bounce in
_JITTER = 0.3
_FLOOR = (15.5, 19.5)  # lowest rows of centres
_REACH = (10.5, 11.5)  # pixels; one range for both speeds, so that the mean speed of a shape tells them apart


@dataclass(frozen=True)
class Mover:
    """One shape of a scene.

    Attributes:
        shape, colour: its looks.
        column: of its centre, in pixels.
        floor: lowest row of its centre.
        reach: height of a bounce in pixels.
        contacts: times in seconds, rising; the first lies before the clip and the last after it.
    """

    shape: str
    colour: str
    column: float
    floor: float
    reach: float
    contacts: tuple[float, ...]

    @property
    def impacts(self) -> tuple[float, ...]:
        """Times of the contacts inside the clip, in seconds."""
        return tuple(time for time in self.contacts if 0 <= time < DURATION)

    def positions(self, times: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Its centre at some times: (T,) seconds -> (T, 2) pixels, row and column."""
        fraction = phase(self.contacts, times)[1]
        return np.stack([self.floor - self.reach * 4 * fraction * (1 - fraction), np.full(len(times), self.column)], 1)


@dataclass(frozen=True)
class Scene:
    """One clip before it is drawn.

    Attributes:
        cast: all of it set.
        movers: by shape, in the order of `SHAPES`.
        quality: how much it is disturbed.
        seed: of the noise.
    """

    cast: Cast
    movers: tuple[Mover, ...]
    quality: Quality
    seed: int

    @property
    def sounding(self) -> Mover:
        """The shape that sounds."""
        return next(mover for mover in self.movers if mover.shape == self.cast.sounding)

    @property
    def prompt(self) -> TrainPrompt:
        """The scene in words."""
        return describe(self.cast)


def draw_scene(seed: int, cast: Cast | None = None) -> Scene:
    """The scene of a seed.

    Args:
        seed: decides everything.
        cast: to show; None to draw one, all being equally likely.
    """
    random = np.random.default_rng([seed % 2**63, 0xC20D])
    drawn = casts()[int(random.integers(len(casts())))]
    cast = cast or drawn
    lanes = random.permutation(_LANES)
    movers = tuple(
        Mover(
            shape=shape,
            colour=cast.colours[shape],
            column=float(lane + random.uniform(-_JITTER, _JITTER)),
            floor=float(random.uniform(*_FLOOR)),
            reach=float(random.uniform(*_REACH)),
            contacts=draw_contacts(SPEEDS[_speed(cast, shape, random)], random, DURATION),
        )
        for shape, lane in zip(SHAPES, lanes, strict=True)
    )
    return Scene(cast, movers, draw_quality(random), seed)


def _speed(cast: Cast, shape: str, random: np.random.Generator) -> str:
    """Of a shape; a silent one's is any."""
    drawn = str(random.choice(list(SPEEDS)))
    return str(cast.speed) if shape == cast.sounding else drawn


def render_scenes(scenes: Sequence[Scene]) -> list[Decoded]:
    """Scenes as clips."""
    return [Decoded(_frames(scene), FPS, _waveform(scene)[None], SAMPLE_RATE) for scene in scenes]


def _frames(scene: Scene) -> NDArray[np.uint8]:
    picture: Any = BACKGROUND
    for mover in scene.movers:
        centres = mover.positions(frame_times(FRAMES)).astype(np.float32)
        picture = painted(picture, coverage(mover.shape, RADIUS, centres, scene.quality.blur, SIDE), mover.colour)
    return disturbed(picture, scene.quality, scene.seed)


def _waveform(scene: Scene) -> NDArray[np.float32]:
    timbre = TIMBRE_OF_SHAPE[str(scene.cast.sounding)]
    return contact_sound(str(scene.cast.pitch), timbre, scene.sounding.impacts, scene.quality, scene.seed, SAMPLES)
