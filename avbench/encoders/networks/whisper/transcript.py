"""What Whisper writes down of a clip, and that as an array: embeddings are arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Word:
    """A spoken word as it is written, with its time in seconds from the start of the sound."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Segment:
    """A stretch of up to 30 s.

    Attributes:
        text: what was written down.
        start, end: seconds from the start of the sound.
        mean_log_probability: of its tokens and the end, natural logarithm.
        compression_ratio: bytes of the text over its bytes under zlib; high where words repeat in a loop.
        no_speech: probability that nobody speaks.
        words: with times.
    """

    text: str
    start: float
    end: float
    mean_log_probability: float
    compression_ratio: float
    no_speech: float
    words: tuple[Word, ...]


@dataclass(frozen=True)
class Transcript:
    """The segments of a clip.

    Attributes:
        language: code that was written down.
        known: whether the checkpoint knows that language; without it there are no segments.
        languages: probability of each language in the first 30 s, by code; empty for a checkpoint of one language.
        segments: in order.
    """

    language: str
    known: bool
    languages: Mapping[str, float]
    segments: tuple[Segment, ...]

    def as_array(self) -> NDArray[np.uint8]:
        """Its JSON as bytes."""
        return np.frombuffer(json.dumps(asdict(self)).encode(), dtype=np.uint8)

    @classmethod
    def from_array(cls, packed: NDArray[np.uint8]) -> Transcript:
        """What `as_array` packed."""
        content = json.loads(packed.tobytes())
        segments = tuple(
            Segment(**{**segment, "words": tuple(Word(**word) for word in segment["words"])})
            for segment in content.pop("segments")
        )
        return cls(segments=segments, **content)
