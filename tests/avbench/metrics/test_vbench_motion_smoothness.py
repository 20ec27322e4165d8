"""Motion smoothness from differences, and clips that it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from synthetic import draw_frames

from avbench.clips import Prompt
from avbench.encoders import Encoder, EncoderStore, WeightsConfig
from avbench.media import Media
from avbench.metrics.base import Score, Scorer
from avbench.metrics.vbench_motion_smoothness import motion_smoothness, motion_smoothness_compat


class Differences(EncoderStore):
    """Gives the same differences whatever the clip: cut to whole levels, rounded."""

    def __init__(self, *rows: tuple[float, float]) -> None:
        super().__init__()
        self.rows = rows

    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> Any:
        return np.array(self.rows, np.float32)


def score(scorer: Scorer, store: EncoderStore, frames: int, sides: tuple[int, int] = (128, 200)) -> Score:
    return scorer(Media.from_arrays("clip", np.zeros((frames, *sides, 3), np.uint8), 10.0), Prompt(), store)


@pytest.mark.parametrize("scorer", [motion_smoothness, motion_smoothness_compat])
def test_differences_average_to_a_score(scorer: Scorer) -> None:
    result = score(scorer, Differences((1.0, 0.5), (4.0, 3.6), (2.5, 2.2)), 8)
    assert result.value == pytest.approx(1 - 2.5 / 255)
    assert result.detail["rounded"] == pytest.approx(1 - 2.1 / 255)
    assert (result.detail["guessed_frames"], result.detail["worst_at_s"]) == (3, 0.3)
    assert result.detail["worst"] == pytest.approx(1 - 4 / 255)


def test_small_pictures_are_refused_but_by_the_reference() -> None:
    """Also those of 113 to 127 pixels, which AMT pads to 128."""
    store = Differences((51.0, 51.0))
    for sides in ((112, 300), (300, 112), (113, 300), (127, 127)):
        assert score(motion_smoothness, store, 3, sides).reason == "a side below 128 pixels: AMT finds no flow"
        assert score(motion_smoothness_compat, store, 3, sides).value == pytest.approx(0.8)
    assert score(motion_smoothness, store, 3, (128, 128)).value == pytest.approx(0.8)


@pytest.mark.parametrize("scorer", [motion_smoothness, motion_smoothness_compat])
@pytest.mark.parametrize("frames", [1, 2])
def test_two_frames_have_nothing_between(scorer: Scorer, frames: int) -> None:
    assert score(scorer, Differences(), frames).reason == f"{frames} frames; at least 3 needed"


@pytest.mark.parametrize("frames", [7, 8])
def test_backwards_it_is_nearly_as_smooth(frames: int) -> None:
    """The same frames lie between the same neighbours, once the last of an even number is gone; AMT has a direction."""
    pytest.importorskip("torch")
    pixels = draw_frames(1, seconds=frames / 10, fps=10, size=(128, 160))[: frames - (frames + 1) % 2]
    store = EncoderStore(setup=WeightsConfig("keyed-random-reduced"))
    ways = [Media.from_arrays(key, way, 10.0) for key, way in (("forth", pixels), ("back", pixels[::-1]))]
    forth, back = (motion_smoothness(media, Prompt(), store) for media in ways)
    assert forth.detail["guessed_frames"] == back.detail["guessed_frames"] == 3
    assert forth.value == pytest.approx(back.value, abs=5e-4)
    assert forth.value < 0.99
