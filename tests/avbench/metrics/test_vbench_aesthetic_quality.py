"""Aesthetic quality: the mean over frames, and odd clips."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.encoders import EncoderStore, WeightsConfig
from avbench.media import Media
from avbench.metrics.vbench_aesthetic_quality import aesthetic_quality

pytest.importorskip("torch")
pytest.importorskip("open_clip")


@pytest.fixture(scope="module")
def store():
    return EncoderStore(setup=WeightsConfig("keyed-random-reduced"))


def clip(name: str, frames) -> Media:
    return Media.from_arrays(name, frames, 24)


def test_frames_count_alike(store):
    one = np.zeros((1, 48, 64, 3), np.uint8)
    other = np.random.default_rng(0).integers(0, 256, one.shape).astype(np.uint8)
    first, second = (aesthetic_quality(clip(str(i), frame), None, store) for i, frame in enumerate((one, other)))
    both = aesthetic_quality(clip("both", np.concatenate([one, one, other])), None, store)
    assert abs(first.value - second.value) > 1e-5
    assert both.value == pytest.approx((2 * first.value + second.value) / 3, abs=1e-7)
    assert both.detail == {"frames": 3}


@pytest.mark.parametrize("size", [(64, 48), (40, 160), (160, 40), (8, 8)], ids=str)
def test_portrait_wide_and_small_clips_have_a_score(store, size):
    frames = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.uint8)
    assert aesthetic_quality(clip(str(size), frames), None, store).status == "ok"
