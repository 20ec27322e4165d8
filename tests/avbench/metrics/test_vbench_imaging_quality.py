"""Imaging quality: the mean over frames, and odd clips."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.musiq.encoders import MUSIQ_FRAMES
from avbench.media import Media
from avbench.metrics.vbench_imaging_quality import imaging_quality

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def store():
    return EncoderStore(setup=WeightsConfig("keyed-random-reduced"))


def drawn(name: str, count: int, size: tuple[int, int] = (48, 64)) -> Media:
    frames = np.random.default_rng(0).integers(0, 256, (count, *size, 3)).astype(np.uint8)
    return Media.from_arrays(f"{name} {size}", frames, 24)


def test_the_value_is_a_hundredth_of_the_mean_rating(store):
    media = drawn("clip", 3)
    score = imaging_quality(media, None, store)
    assert score.value == pytest.approx(store.embed(MUSIQ_FRAMES, media).mean() / 100, abs=1e-9)
    assert score.detail == {"frames": 3}


def test_a_still_scores_as_its_frame(store):
    frame = drawn("frame", 1)
    still = Media.from_arrays("still", frame.frames.repeat(9, axis=0), 24)
    assert imaging_quality(still, None, store).value == pytest.approx(
        imaging_quality(frame, None, store).value, abs=1e-9
    )


@pytest.mark.parametrize("size", [(64, 48), (40, 160), (600, 150), (8, 8), (2, 512)], ids=str)
def test_portrait_wide_large_and_small_clips_have_a_score(store, size):
    assert imaging_quality(drawn("odd", 1, size), None, store).status == "ok"


@pytest.mark.parametrize("size", [(1, 512), (2100, 4)], ids=str)
def test_a_line_of_pixels_is_skipped(store, size):
    score = imaging_quality(drawn("line", 1, size), None, store)
    assert score.status == "skipped"
    assert score.reason == f"{size[1]} x {size[0]} pixels: too narrow to be shrunk to 224 pixels"
