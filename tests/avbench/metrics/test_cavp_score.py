"""CAVP score against the reference's numbers, its two modes, and clips that it cannot judge."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.cavp.encoders import CAVP
from avbench.media import Media, decode_clip
from avbench.metrics.cavp_score import cavp_score, cavp_score_compat, mean_similarity

pytest.importorskip("torch")

MODES = pytest.mark.parametrize("metric", [cavp_score, cavp_score_compat], ids=lambda metric: metric.name)


@pytest.fixture(scope="module")
def store():
    return EncoderStore(setup=WeightsConfig("keyed-random-reduced"))


def drawn(frames: int, samples: int, size: tuple[int, int] = (24, 32), level: float = 0.1) -> Media:
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (frames, *size, 3)).astype(np.uint8)
    sound = level * generator.standard_normal(samples)
    return Media.from_arrays(f"{frames} {samples} {size} {level}", pictures, 24.0, sound, 16000)


@MODES
@pytest.mark.parametrize("name", ["clip_a", "clip_c"])
def test_equals_the_reference(metric, name, golden, golden_clips, store):
    expected = golden("cavp")["clips"][name]
    clip = Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav")
    media = decode_clip(clip, name, CAVP.views)
    score = metric(media, Prompt(), store)
    assert score.value == pytest.approx(expected["score"]["reduced"], abs=1e-6)
    assert score.detail["scored_s"] == expected["seconds"]
    # What leaving out the reference's lossy re-encode costs; the caveat names it.
    assert score.value == pytest.approx(expected["score_after_lossy_reencode"]["reduced"], abs=1e-3)


def test_mean_of_cosines():
    pair = np.array([[[1, 0], [0, 1]], [[0.6, 0.8], [0, -1]]], dtype=np.float32)
    assert mean_similarity(pair) == pytest.approx((0.6 - 1) / 2)


def test_modes_agree_on_whole_seconds_and_differ_otherwise(store):
    whole, ragged, quiet_end = drawn(48, 32000), drawn(60, 40000), drawn(48, 20000)
    assert cavp_score(whole, Prompt(), store).value == cavp_score_compat(whole, Prompt(), store).value
    for media, seconds in ((ragged, (2.5, 2.0)), (quiet_end, (1.25, 2.0))):
        fixed, compat = cavp_score(media, Prompt(), store), cavp_score_compat(media, Prompt(), store)
        assert (fixed.detail["scored_s"], compat.detail["scored_s"]) == seconds
        assert fixed.value != compat.value


def test_detail_names_both_lengths(store):
    detail = cavp_score(drawn(60, 20000), Prompt(), store).detail
    assert (detail["scored_s"], detail["picture_s"], detail["sound_s"]) == (1.25, 2.5, 1.25)


@MODES
@pytest.mark.parametrize(("frames", "samples"), [(1, 16000), (24, 1), (5, 16000)])
def test_too_little_is_skipped_or_padded(metric, frames, samples, store):
    score = metric(drawn(frames, samples), Prompt(), store)
    if metric is cavp_score_compat and frames == 24:  # as the reference, short sound is padded with silence
        assert score.status == "ok"
    else:
        assert score.status == "skipped"
        assert "second" in score.reason


def test_a_quarter_second_is_enough(store):
    assert cavp_score(drawn(6, 4000), Prompt(), store).status == "ok"
    assert cavp_score_compat(drawn(6, 4000), Prompt(), store).status == "skipped"


@MODES
def test_odd_sizes_and_silence_get_a_number(metric, store):
    assert metric(drawn(24, 16000, size=(25, 33)), Prompt(), store).status == "ok"
    assert metric(drawn(24, 16000, level=0.0), Prompt(), store).status == "ok"


def test_other_sound_gives_another_score(store):
    one, two = drawn(48, 32000), drawn(48, 32000, level=0.001)
    assert abs(cavp_score(one, Prompt(), store).value - cavp_score(two, Prompt(), store).value) > 1e-4
