"""Temporal flickering against VBench's own numbers."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import vbench_goldens as vbench
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from avbench.clips import Prompt
from avbench.encoders import EncoderStore
from avbench.media import Media
from avbench.metrics.vbench_flickering import RGB_DIFFERENCE, temporal_flickering

GOLDENS = Path(__file__).parents[2] / "goldens" / "metrics"
EXPECTED = json.loads((GOLDENS / "vbench_temporal_flickering.json").read_text())
LARGER = vbench.golden("temporal_flickering")


def decode(path: Path) -> Media:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        return Media.from_arrays(path.name, frames, float(stream.average_rate))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_equals_vbench(name: str) -> None:
    media = decode(GOLDENS / "inputs" / f"{name}.mp4")
    result = temporal_flickering(media, Prompt(), EncoderStore())
    assert result.value == pytest.approx(EXPECTED[name]["score"], abs=1e-6)
    assert result.detail["pairs"] == EXPECTED[name]["n_pairs"]
    first = EXPECTED[name]["mae_first"]
    assert media.view(RGB_DIFFERENCE)[1 : 1 + len(first), 0] == pytest.approx(first, abs=1e-5)


@pytest.mark.parametrize("name", ["clip_e", "clip_f"])
def test_every_pair_equals_vbench(name: str) -> None:
    media = vbench.media(name)
    result = temporal_flickering(media, Prompt(), EncoderStore())
    assert result.value == pytest.approx(LARGER[name]["score"], abs=1e-6)
    assert media.view(RGB_DIFFERENCE)[1:, 0] == pytest.approx(LARGER[name]["mae"], abs=1e-5)


def test_hand_worked() -> None:
    frames = np.zeros((3, 2, 2, 3), np.uint8)
    frames[1, 0, 0, 0] = 120  # one of twelve values: differences of 10 there and back
    value = temporal_flickering(Media.from_arrays("k", frames, 24.0), Prompt(), EncoderStore()).value
    assert value == pytest.approx(245 / 255)


@given(arrays(np.uint8, st.tuples(st.integers(2, 6), st.just(3), st.just(4), st.just(3))))
def test_time_has_no_direction(frames: np.ndarray) -> None:
    forth, back = (Media.from_arrays(key, way, 24.0) for key, way in (("forth", frames), ("back", frames[::-1])))
    scores = [temporal_flickering(media, Prompt(), EncoderStore()).value for media in (forth, back)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-12)


def test_one_frame_of_which_vbench_gives_nan_is_skipped() -> None:
    assert np.isnan(LARGER["clip_a1"]["score"]) and LARGER["clip_a1"]["mae"] == []
    media = vbench.media("clip_a1")
    assert temporal_flickering(media, Prompt(), EncoderStore()).reason == "needs at least 2 frames"
