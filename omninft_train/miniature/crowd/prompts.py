"""Casts of the crowd, the words that describe them, and what the audio stream is told of them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch

from omninft_train.errors import UsageError
from omninft_train.miniature.words import Words, vocabulary
from omninft_train.miniature.world import (
    COLOURS,
    NOUN,
    PITCHES,
    SHAPES,
    SPEEDS,
    TEMPO,
    TIMBRE_OF_SHAPE,
    TIMBRES,
    one_of,
    split_words,
)
from omninft_train.models.latents import Condition
from omninft_train.prompts import TrainPrompt

PITCH_OF_COLOUR: Mapping[str, str] = MappingProxyType({"red": "low", "yellow": "high"})
"""Of the shape that sounds; silent shapes have the other colours."""
_SILENT = tuple(colour for colour in COLOURS if colour not in PITCH_OF_COLOUR)
_HELD_OUT = 3  # one cast in so many


@dataclass(frozen=True)
class Cast:
    """What a prompt states; None, or no entry, where it states nothing.

    Attributes:
        colours: of each shape that is there, by shape.
        sounding: the shape that sounds.
        speed: how often it touches the floor.
        pitch: of its sound.
    """

    colours: Mapping[str, str] = field(default_factory=dict)
    sounding: str | None = None
    speed: str | None = None
    pitch: str | None = None

    @property
    def colour(self) -> str | None:
        """Of the shape that sounds."""
        return self.colours.get(self.sounding or "")

    @property
    def silent(self) -> list[str]:
        """Shapes that do not sound, in the order of `SHAPES`."""
        return [shape for shape in SHAPES if shape in self.colours and shape != self.sounding]


@functools.cache
def casts() -> tuple[Cast, ...]:
    """Every cast there is, in a fixed order."""
    made = []
    for sounding, colour, others, speed in itertools.product(
        SHAPES, PITCH_OF_COLOUR, itertools.permutations(_SILENT), SPEEDS
    ):
        silent = iter(others)
        colours = {shape: colour if shape == sounding else next(silent) for shape in SHAPES}
        made.append(Cast(MappingProxyType(colours), sounding, speed, PITCH_OF_COLOUR[colour]))
    return tuple(made)


def describe(cast: Cast) -> TrainPrompt:
    """A whole cast in words; the shape that sounds also as metadata."""
    shape = str(cast.sounding)
    others = " and ".join(f"a {cast.colours[other]} {other}" for other in cast.silent)
    picture = f"a {cast.colour} {shape} bounces {cast.speed} beside {others}"
    timbre = TIMBRE_OF_SHAPE[shape]
    sound = f"{TEMPO[str(cast.speed)]} {cast.pitch} {timbre} {NOUN[timbre]}"
    return TrainPrompt(f"{picture}, {sound}", picture, sound, {"set": shape})


def training_prompts() -> list[TrainPrompt]:
    """Prompts to train on: every cast but those of `evaluation_prompts`."""
    return [describe(cast) for index, cast in enumerate(casts()) if not _kept_aside(index)]


def evaluation_prompts() -> list[TrainPrompt]:
    """Eight casts that post-training does not see; pretraining sees all."""
    return [describe(cast) for index, cast in enumerate(casts()) if _kept_aside(index)]


def _kept_aside(index: int) -> bool:
    # Moves on from one three to the next, so that no shape, colour or speed is left out altogether.
    return index % _HELD_OUT == index // _HELD_OUT % _HELD_OUT


def understand(text: str) -> Cast:
    """Parse a cast from a prompt; unknown words are passed over.

    The shape before "bounces" sounds, or else the one of the timbre.

    Raises:
        UsageError: it names two of a kind, or two colours of one shape.
    """
    words = split_words(text)
    colours: dict[str, str] = {}
    for colour, shape in itertools.pairwise(words):
        if colour in COLOURS and shape in SHAPES and colours.setdefault(shape, colour) != colour:
            raise UsageError(f"prompt {text!r}: a {shape} is {colours[shape]} and {colour}; a scene has one.")
    bouncing = {word for word, verb in itertools.pairwise(words) if verb == "bounces"}
    shape_of = {timbre: shape for shape, timbre in TIMBRE_OF_SHAPE.items()}
    timbre = one_of(set(words), TIMBRES, text)
    tempo = {short: speed for speed, short in TEMPO.items()}
    return Cast(
        colours=colours,
        sounding=one_of(bouncing, SHAPES, text) or (shape_of[timbre] if timbre else None),
        speed=one_of({tempo.get(word, word) for word in words}, SPEEDS, text),
        pitch=one_of(set(words), PITCHES, text),
    )


_WORDS = Words(vocabulary([describe(cast).prompt_av for cast in casts()]), length=2 * len(SHAPES) + 2)


def embed(prompts: Sequence[str]) -> Condition:
    """Conditioning of prompts, (B, S, D): the audio stream gets what it is `told`, the video stream nothing.

    No words are all zeros; that is what guidance leads away from.

    Raises:
        UsageError: a word that the world does not have, or two of a kind.
    """
    words = torch.stack([_WORDS.rows(told(prompt)) for prompt in prompts])
    return Condition(torch.zeros_like(words), words)


def told(prompt: str) -> str:
    """What the audio stream is told of a prompt: the shapes in a fixed order, tempo and timbre."""
    _WORDS.check(prompt)
    cast = understand(prompt)
    shapes = [f"{cast.colours[shape]} {shape}" for shape in SHAPES if shape in cast.colours]
    sound = (TEMPO.get(cast.speed or ""), TIMBRE_OF_SHAPE.get(cast.sounding or ""))
    return " ".join([*shapes, *filter(None, sound)])
