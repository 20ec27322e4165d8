"""face_ratio: from given faces; with trained weights what is seen in the shipped clips."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import face_material
import numpy as np
import pytest

from avbench.clips import Clip, Prompt
from avbench.encoders import Encoder, EncoderStore, WeightsConfig
from avbench.encoders.networks.mtcnn.encoders import FACES
from avbench.media import Media, decode_clip
from avbench.metrics import Score
from avbench.metrics.base import registry


class Known:
    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = np.array(rows, dtype=np.float32).reshape(-1, 6)

    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> Any:
        return self.rows


def score(*rows: list[float], frames: int = 50) -> Score:
    media = Media.from_arrays("c", np.zeros((frames, 100, 200, 3), np.uint8), 25)
    return registry()["face_ratio"](media, Prompt(), Known(list(rows)))  # type: ignore[arg-type]


def face(frame: int, left: float = 20, side: float = 50, probability: float = 0.99) -> list[float]:
    return [frame, left, 10, left + side, 10 + side, probability]


def test_frames_with_a_face_over_frames_looked_at() -> None:
    """Two seconds are ten frames."""
    assert score().value == 0
    result = score(face(0), face(1), face(1, 120), face(2, probability=0.89))
    assert result.value == pytest.approx(0.2)
    assert (result.detail["frames"], result.detail["most_faces"]) == (10, 2)


def test_tracks_have_times_and_sizes() -> None:
    seen = [face(n, 20 + n) for n in (0, 1, 2, 5, 6)]
    result = score(*seen, *(face(n, 120, 40) for n in (3, 4)), face(9, 120, 20))
    assert result.detail["tracks"] == 2
    first, second = result.detail["faces"]
    assert (first["begin_s"], first["end_s"], first["detections"], first["size_px"]) == (0, 1.4, 5, 50)
    assert (second["begin_s"], second["end_s"], second["size_of_height"]) == (0.6, 1.0, 0.4)
    assert (len(first["boxes"]), first["boxes_every_s"]) == (7, 0.2)


def test_boxes_of_a_long_clip_are_bounded() -> None:
    """Half a minute of one face; and fifteen faces side by side."""
    one = score(*(face(n) for n in range(150)), frames=750).detail["faces"]
    assert (len(one[0]["boxes"]), one[0]["boxes_every_s"]) == (75, 0.4)
    many = score(*(face(n, 12 * k, 8) for n in range(3) for k in range(15))).detail["faces"]
    assert len(many) == 15 and sum("boxes" in each for each in many) == 12


def test_a_face_lost_for_more_than_a_second_begins_anew() -> None:
    assert score(*(face(n) for n in (0, 1, 6, 7))).detail["tracks"] == 1
    assert score(*(face(n) for n in (0, 1, 7, 8))).detail["tracks"] == 2


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EncoderStore:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("weights")
    shutil.copytree(face_material.mtcnn(), folder / "mtcnn")
    return EncoderStore(setup=WeightsConfig(weights_dir=folder))


@pytest.mark.speech
class TestTrained:
    @pytest.mark.parametrize(
        ("name", "ratio", "tracks"),
        [
            ("ovi_two_men", 1, 2),
            ("ovi_dressing_room", 1, 2),
            ("tears_of_steel_deck", 2 / 30, 1),
            ("tears_of_steel_hall", 0, 0),
            ("bounce", 0, 0),
        ],
    )
    def test_shipped_clips(self, name: str, ratio: float, tracks: int, store: EncoderStore, examples: Path) -> None:
        media = decode_clip(Clip(name, examples / f"{name}.mp4"), name, FACES.views)
        result = registry()["face_ratio"](media, Prompt(), store)
        assert result.value == pytest.approx(ratio)
        assert result.detail["tracks"] == tracks
