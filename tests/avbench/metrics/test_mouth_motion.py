"""Motion of mouths: the one that moves most counts, profiles and short looks do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from avbench.clips import Prompt
from avbench.encoders import Encoder
from avbench.media import Media
from avbench.metrics import Score
from avbench.metrics.base import registry


class Known:
    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = np.array(rows, dtype=np.float32).reshape(-1, 4)

    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> Any:
        return self.rows


def score(*faces: list[list[float]]) -> Score:
    media = Media.from_arrays("c", np.zeros((50, 8, 8, 3), np.uint8), 25)
    return registry()["mouth_motion"](media, Prompt(), Known([row for face in faces for row in face]))  # type: ignore[arg-type]


def face(number: int, motion: float, *, frames: int = 20, first: int = 0, flag: float = 20.0) -> list[list[float]]:
    """A mouth that opens and closes by twice `motion` from frame to frame."""
    return [[number, first + n, 0.1 + (motion if n % 2 else -motion), flag] for n in range(frames)]


def test_the_mouth_that_moves_most_counts() -> None:
    result = score(face(0, 0.01), face(1, 0.03, first=5), face(2, 0.02))
    assert result.value == pytest.approx(0.03)
    assert [one["motion"] for one in result.detail["faces"]] == pytest.approx([0.01, 0.03, 0.02])
    assert (result.detail["faces"][1]["begin_s"], result.detail["faces"][1]["end_s"]) == (0.5, 2.5)


def test_a_face_in_profile_does_not_count() -> None:
    result = score(face(0, 0.01), face(1, 0.03, flag=-0.1))
    assert result.value == pytest.approx(0.01)
    assert len(result.detail["faces"]) == 2


@pytest.mark.parametrize(
    ("reason", "faces"),
    [
        ("no face is in view for 1 s", []),
        ("no face is in view for 1 s", [face(0, 0.03, frames=9)]),
        ("faces in profile only: the mesh does not fit them", [face(0, 0.03, flag=-5)]),
    ],
)
def test_why_there_is_no_number(reason: str, faces: list[list[list[float]]]) -> None:
    result = score(*faces)
    assert (result.status, result.reason) == ("skipped", reason)


def test_a_still_mouth_is_zero() -> None:
    assert score(face(0, 0.0)).value == pytest.approx(0, abs=1e-7)
