"""Subject and background consistency against VBench's own numbers, and what must hold of any clip."""

from __future__ import annotations

import numpy as np
import pytest
import vbench_goldens as vbench

from avbench.encoders import EncoderStore, WeightsConfig
from avbench.media import Media
from avbench.metrics.vbench_consistency import background_consistency, similarities, subject_consistency

pytest.importorskip("torch")
pytest.importorskip("open_clip")

SCORERS = {
    "subject_consistency": (subject_consistency, ["clip_a16", "clip_f", "bbb6"]),
    "background_consistency": (background_consistency, ["clip_e", "clip_f", "bbb6"]),
}
EACH = pytest.mark.parametrize("scorer", [scorer for scorer, _ in SCORERS.values()], ids=list(SCORERS))


@pytest.fixture(scope="module")
def store():
    return EncoderStore(setup=WeightsConfig("keyed-random-reduced"))


def drawn(name: str, count: int, size: tuple[int, int] = (48, 64)) -> Media:
    frames = np.random.default_rng(0).integers(0, 256, (count, *size, 3)).astype(np.uint8)
    return Media.from_arrays(f"{name} {count} {size}", frames, 24)


def test_similarities_worked_by_hand():
    features = np.array([[1, 0], [0, 2], [3, 3], [-1, 0]], np.float32)
    half = np.sqrt(0.5)
    # Previous: 0, 1/sqrt 2, negative; first: 0, 1/sqrt 2, negative.
    assert similarities(features) == pytest.approx([0, half, 0], abs=1e-12)
    assert similarities(features[[0, 2, 1]]) == pytest.approx([half, half / 2], abs=1e-12)


@EACH
def test_a_frame_repeated_is_perfectly_consistent(scorer, store):
    frame = np.random.default_rng(1).integers(0, 256, (1, 48, 64, 3)).astype(np.uint8)
    score = scorer(Media.from_arrays("still", frame.repeat(40, axis=0), 24), None, store)
    assert score.value == pytest.approx(1, abs=1e-12)
    assert score.value <= 1
    assert score.detail == {"pairs": 39}


@EACH
def test_a_clip_that_returns_to_its_start_is_more_consistent_than_one_that_does_not(scorer, store):
    """Both change from frame to frame alike; only the comparison with the first frame tells them apart."""
    a, b, c = np.random.default_rng(1).integers(0, 256, (3, 48, 64, 3)).astype(np.uint8)
    there_and_back = scorer(Media.from_arrays("back", np.stack([a, b, a]), 24), None, store)
    away = scorer(Media.from_arrays("away", np.stack([a, b, b, c]), 24), None, store)
    assert away.value < there_and_back.value < 1


@EACH
def test_one_frame_is_skipped(scorer, store):
    score = scorer(drawn("one", 1), None, store)
    assert (score.status, score.reason) == ("skipped", "needs at least 2 frames")


@EACH
@pytest.mark.parametrize("size", [(64, 48), (40, 160), (160, 40), (8, 8)], ids=str)
def test_portrait_wide_and_small_clips_have_a_score(scorer, store, size):
    score = scorer(drawn("odd", 3, size), None, store)
    assert 0 <= score.value <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", SCORERS)
def test_scores_equal_vbench(name):
    scorer, clips = SCORERS[name]
    store = EncoderStore(setup=WeightsConfig("keyed-random"))
    expected = vbench.golden(name)
    scores = []
    for clip in clips:
        media = vbench.media(clip)
        arrays = vbench.arrays_of(name, clip)
        each = similarities(store.embed(scorer.encoders[0], media))
        assert each == pytest.approx((arrays["sim_prev"] + arrays["sim_first"]) / 2, abs=2e-6)
        scores.append(scorer(media, None, store))
        assert scores[-1].value == pytest.approx(expected[clip]["score"], abs=2e-6)
    values = [score.value for score in scores]
    pairs = [score.detail["pairs"] for score in scores]
    # VBench weighs all pairs of a set alike in one process, and clips in several.
    assert np.average(values, weights=pairs) == pytest.approx(expected["dataset"]["frame_weighted"], abs=2e-6)
    assert np.mean(values) == pytest.approx(expected["dataset"]["video_mean"], abs=2e-6)
