"""A voice off screen, told from a clip without faces and from one without speech."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from avbench.clips import Prompt
from avbench.encoders import Encoder
from avbench.encoders.networks.silero import SILERO
from avbench.media import Media
from avbench.metrics import Score
from avbench.metrics.base import registry


class Known:
    """A store that knows who speaks and in which of the frames, five per second, there is a face."""

    def __init__(self, speech: tuple[float, float], faces: list[int]) -> None:
        at = np.arange(125) * 0.032
        self.voice = np.where((at >= speech[0]) & (at < speech[1]), 0.9, 0.0).astype(np.float32)
        self.faces = np.array([[n, 10, 10, 60, 60, 0.99] for n in faces], np.float32).reshape(-1, 6)

    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> Any:
        return self.voice if encoder is SILERO else self.faces


def score(speech: tuple[float, float], faces: list[int], *, audio_start: float = 0.0, seconds: float = 4.0) -> Score:
    frames = np.zeros((round(25 * seconds), 8, 8, 3), np.uint8)
    media = Media.from_arrays("c", frames, 25, np.zeros((1, 64_000)), 16000)
    assert media.audio is not None
    object.__setattr__(media.audio, "start", audio_start)
    return registry()["speech_face_ratio"](media, Prompt(), Known(speech, faces))  # type: ignore[arg-type]


def test_a_voice_off_screen_is_zero_whatever_is_in_view_before_and_after() -> None:
    assert score((1.0, 2.0), []).value == 0
    assert score((1.0, 2.0), [0, 1, 2, 3, 12, 13, 14]).value == 0


def test_a_face_that_enters_late_counts_from_then_on() -> None:
    result = score((0.99, 3.01), list(range(10, 20)))
    assert result.value == pytest.approx(5 / 10, abs=0.1)
    assert result.detail["frames_with_face"] < result.detail["frames"]
    assert score((2.1, 3.0), list(range(10, 20))).value == 1


def test_speech_lies_where_the_sound_does() -> None:
    assert score((0.1, 1.0), list(range(10, 20))).value == 0
    assert score((0.1, 1.0), list(range(10, 20)), audio_start=2.0).value == 1


@pytest.mark.parametrize(
    ("reason", "options"),
    [
        ("no speech found", {"speech": (0.0, 0.0)}),
        ("speech, but none while there is video", {"speech": (2.0, 3.0), "seconds": 1.0}),
    ],
)
def test_why_there_is_no_number(reason: str, options: dict[str, Any]) -> None:
    result = score(faces=[0, 1, 2], **options)
    assert (result.status, result.reason) == ("skipped", reason)
