"""Scenes of the miniature world, drawn from a seed, and the words that describe them.

A coloured shape bounces on the floor or glides between two walls. Each contact sounds at that instant: the shape gives
the timbre, the size the pitch. Video and audio are disturbed by a varying amount that no prompt mentions, so that
clips differ in quality.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omninft_train.errors import UsageError
from omninft_train.prompts import TrainPrompt

VERSION = 1
"""Raised when scenes, their rendering or their latents change; pretrained weights of another version are refused."""

SIDE = 32
"""Height and width of a frame in pixels."""
FPS = 10.0
FRAMES = 16
DURATION = FRAMES / FPS
"""Seconds of a clip."""
SAMPLE_RATE = 8000
SAMPLES = int(DURATION * SAMPLE_RATE)

COLOURS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "red": (0.90, 0.18, 0.18),
        "green": (0.18, 0.75, 0.28),
        "blue": (0.22, 0.38, 0.95),
        "yellow": (0.92, 0.82, 0.16),
    }
)
RADII: Mapping[str, float] = MappingProxyType({"small": 4.5, "large": 7.0})
"""Pixels from the centre of a shape to its rim."""
SHAPES = ("circle", "square", "triangle")
MOTIONS = ("bounces", "glides")
SPEEDS: Mapping[str, tuple[float, float]] = MappingProxyType({"slowly": (0.52, 0.72), "quickly": (0.30, 0.42)})
"""Shortest and longest time between two contacts, in seconds."""
PITCHES: Mapping[str, float] = MappingProxyType({"low": 180.0, "high": 340.0})
"""Fundamental of a contact's sound, in hertz."""
TIMBRES: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {"wooden": (2.5, 0.3, 0.03), "metal": (1.5, 0.9, 0.09), "glass": (2.0, 0.6, 0.06)}
)
"""Second partial: ratio to the fundamental and relative amplitude; then seconds until a contact died down to 1/e."""

PITCH_OF_SIZE: Mapping[str, str] = MappingProxyType({"small": "high", "large": "low"})
TIMBRE_OF_SHAPE: Mapping[str, str] = MappingProxyType({"circle": "wooden", "square": "metal", "triangle": "glass"})
NOUN = {"wooden": "knocks", "metal": "clangs", "glass": "chimes"}
TEMPO = {"slowly": "slow", "quickly": "quick"}
# Within this many seconds of either end a contact cannot be seen, so scenes have none there.
_EDGE = 0.1


@dataclass(frozen=True)
class Subject:
    """Attributes that a prompt states; None where it states nothing.

    Attributes:
        size, colour, shape, motion, speed: of the video.
        pitch, timbre: of the sound.
    """

    size: str | None = None
    colour: str | None = None
    shape: str | None = None
    motion: str | None = None
    speed: str | None = None
    pitch: str | None = None
    timbre: str | None = None


@dataclass(frozen=True)
class Quality:
    """How much a scene is disturbed.

    Attributes:
        grain: standard deviation of video noise, in units of full brightness.
        flicker: standard deviation of a frame's brightness, relative.
        blur: width of an edge in pixels.
        hiss: root mean square of background noise; contacts peak at about 0.5.
        hum: amplitude of a steady tone.
    """

    grain: float = 0.0
    flicker: float = 0.0
    blur: float = 2.0
    hiss: float = 0.0
    hum: float = 0.0


@dataclass(frozen=True)
class Scene:
    """One clip before it is drawn.

    Attributes:
        subject: all of it set.
        contacts: times of contacts in seconds, rising; the first lies before the clip and the last after it.
        reach: height of a bounce in pixels, or the distance between the walls.
        drift: where the other coordinate starts and ends, in pixels.
        start: 0 or 1, the wall that the first contact is with.
        quality: see `Quality`.
        seed: of the noise.
    """

    subject: Subject
    contacts: tuple[float, ...]
    reach: float
    drift: tuple[float, float]
    start: int
    quality: Quality
    seed: int

    @property
    def impacts(self) -> tuple[float, ...]:
        """Times of the contacts inside the clip, in seconds."""
        return tuple(time for time in self.contacts if 0 <= time < DURATION)

    @property
    def prompt(self) -> TrainPrompt:
        """The scene in words."""
        return describe(self.subject)


@functools.cache
def subjects() -> tuple[Subject, ...]:
    """Every subject there is, in a fixed order."""
    return tuple(
        Subject(size, colour, shape, motion, speed, PITCH_OF_SIZE[size], TIMBRE_OF_SHAPE[shape])
        for size, colour, shape, motion, speed in itertools.product(RADII, COLOURS, SHAPES, MOTIONS, SPEEDS)
    )


def describe(subject: Subject) -> TrainPrompt:
    """A subject in words; the shape, size and so on also as metadata."""
    picture = f"a {subject.size} {subject.colour} {subject.shape} {subject.motion} {subject.speed}"
    sound = f"{TEMPO[str(subject.speed)]} {subject.pitch} {subject.timbre} {NOUN[str(subject.timbre)]}"
    return TrainPrompt(f"{picture}, {sound}", picture, sound, {"set": str(subject.shape)})


def training_prompts() -> list[TrainPrompt]:
    """Prompts to train on: every subject but those of `evaluation_prompts`."""
    return [describe(subject) for index, subject in enumerate(subjects()) if index % 6 != _held_out(index)]


def evaluation_prompts() -> list[TrainPrompt]:
    """One subject in six, which post-training does not see; pretraining sees all."""
    return [describe(subject) for index, subject in enumerate(subjects()) if index % 6 == _held_out(index)]


def _held_out(index: int) -> int:
    # Moves on from one six to the next, so that no colour, shape or motion is left out altogether.
    return (index // 6 * 5) % 6


def split_words(text: str) -> list[str]:
    """The words of a prompt, in lower case and without punctuation."""
    return "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()


def understand(text: str) -> Subject:
    """Parse the attributes of a scene from a prompt; unknown words are passed over.

    Raises:
        UsageError: it names two of a kind, "red" and "green" for example.
    """
    words = set(split_words(text))
    tempo = {short: speed for speed, short in TEMPO.items()}
    return Subject(
        size=one_of(words, RADII, text),
        colour=one_of(words, COLOURS, text),
        shape=one_of(words, SHAPES, text),
        motion=one_of(words, MOTIONS, text),
        speed=one_of({tempo.get(word, word) for word in words}, SPEEDS, text),
        pitch=one_of(words, PITCHES, text),
        timbre=one_of(words, TIMBRES, text),
    )


def one_of(words: set[str], known: Mapping[str, object] | tuple[str, ...], text: str) -> str | None:
    """The one of some known words that a text has, None for none; two are an error."""
    named = [word for word in known if word in words]
    if len(named) > 1:
        raise UsageError(f"prompt {text!r} names both {named[0]} and {named[1]}; a scene has one.")
    return named[0] if named else None


def draw_scene(seed: int, subject: Subject | None = None) -> Scene:
    """The scene of a seed.

    Args:
        seed: decides everything.
        subject: to show; None to draw one, all being equally likely.
    """
    random = np.random.default_rng([seed % 2**63, 0x3C17])
    drawn = subjects()[int(random.integers(len(subjects())))]
    subject = subject or drawn
    radius = RADII[str(subject.size)]
    room = SIDE - 2 * radius - 2
    bounces = subject.motion == "bounces"
    low, high = radius + 1, SIDE - radius - 1
    drift = random.uniform(low, high, 2)
    return Scene(
        subject=subject,
        contacts=draw_contacts(SPEEDS[str(subject.speed)], random),
        reach=float(room * random.uniform(0.7, 1.0)) if bounces else room,
        # The centre of what glides stays in the upper part, that of what bounces anywhere between the walls.
        drift=(float(drift[0]), float(0.5 * (drift[0] + drift[1]))),
        start=int(random.integers(2)),
        quality=draw_quality(random),
        seed=seed,
    )


def draw_contacts(
    interval: tuple[float, float], random: np.random.Generator, duration: float = DURATION
) -> tuple[float, ...]:
    """Times of contacts in seconds, the first before the clip and the last after it, none near its ends.

    Args:
        interval: shortest and longest time between two contacts, in seconds.
        random: source of chance.
        duration: of the clip in seconds.
    """
    while True:
        intervals = random.uniform(*interval, size=10)
        times = np.cumsum(intervals) - intervals[0] - random.uniform(0, intervals[0])
        last = int(np.searchsorted(times, duration)) + 1
        inside = times[(times >= 0) & (times < duration)]
        if ((inside > _EDGE) & (inside < duration - _EDGE)).all():
            return tuple(times[:last].tolist())


def draw_quality(random: np.random.Generator) -> Quality:
    """How much a scene is disturbed; cubes, so that most are nearly clean and some are bad."""
    grain, flicker, blur, hiss, hum = random.uniform(0, 1, 5) ** 3
    return Quality(0.1 * grain, 0.2 * flicker, 1.5 + 2.5 * blur, 0.05 * hiss, 0.08 * hum)


def phase(
    contacts: tuple[float, ...], times: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.intp], NDArray[np.floating[Any]]]:
    """Index of the last contact before each of some times, (T,), and the fraction of the way to the next one, (T,)."""
    at = np.array(contacts)
    before = np.clip(np.searchsorted(at, times, side="right") - 1, 0, len(at) - 2)
    return before, (times - at[before]) / (at[before + 1] - at[before])


def positions(scene: Scene, times: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Centre of the shape at some times: (T,) seconds -> (T, 2) pixels, row and column."""
    before, fraction = phase(scene.contacts, times)
    radius = RADII[str(scene.subject.size)]
    along = scene.drift[0] + (scene.drift[1] - scene.drift[0]) * times / DURATION
    if scene.subject.motion == "bounces":
        height = scene.reach * 4 * fraction * (1 - fraction)
        return np.stack([SIDE - 1 - radius - height, along], axis=1)
    forth = (before + scene.start) % 2 == 0
    return np.stack([along, 1 + radius + scene.reach * np.where(forth, fraction, 1 - fraction)], axis=1)
