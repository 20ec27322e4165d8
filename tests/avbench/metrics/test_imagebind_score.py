"""IB-TV, IB-TA and IB-AV against the reference's numbers, and where they part from it."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.media import Media, decode_clip
from avbench.metrics.imagebind_score import (
    av_ib,
    av_ib_compat,
    cosine,
    ta_ib,
    ta_ib_compat,
    tv_ib,
    tv_ib_compat,
)

pytest.importorskip("torch")
pytest.importorskip("open_clip")

FIXED = {"ib_tv": tv_ib, "ib_ta": ta_ib, "ib_av": av_ib}
COMPAT = {"ib_tv": tv_ib_compat, "ib_ta": ta_ib_compat, "ib_av": av_ib_compat}


@pytest.fixture(scope="module")
def store():
    return EncoderStore(setup=WeightsConfig("keyed-random-reduced"))


@pytest.fixture(scope="module")
def decoded(golden_clips):
    views = {view for scorer in COMPAT.values() for view in scorer.all_views}
    return {
        name: decode_clip(Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav"), name, views)
        for name in ("clip_a", "clip_b", "clip_c", "clip_d")
    }


def scores(scorers, media, prompts, store):
    prompt = Prompt(prompts[0], audio_text=prompts[1])
    return {name: scorer(media, prompt, store).value for name, scorer in scorers.items()}


def sounding(samples, level=0.0, frames=30):
    generator = np.random.default_rng(samples)
    pictures = generator.integers(0, 256, (frames, 48, 64, 3)).astype(np.uint8)
    sound = level + 0.1 * generator.standard_normal((1, samples))
    return Media.from_arrays(f"{samples} {level} {frames}", pictures, 24.0, sound, 16000)


@pytest.mark.parametrize("name", ["clip_a", "clip_b", "clip_c", "clip_d"])
def test_equals_the_reference(name, decoded, golden, store):
    expected = golden("imagebind_tiny")[name]
    found = scores(COMPAT, decoded[name], expected["prompts"], store)
    assert found == pytest.approx({key: expected[key] for key in COMPAT}, abs=2e-5)


@pytest.mark.parametrize("name", ["clip_c", "clip_d"])
def test_fixed_equals_the_reference_where_sound_clips_do_not_overlap(name, decoded, golden, store):
    expected = golden("imagebind_tiny")[name]
    found = scores(FIXED, decoded[name], expected["prompts"], store)
    assert found == pytest.approx({key: expected[key] for key in FIXED}, abs=2e-5)


def test_means_in_place_move_the_number(decoded, golden, store):
    expected = golden("imagebind_tiny")["clip_b"]
    found = scores(FIXED, decoded["clip_b"], expected["prompts"], store)
    assert found["ib_tv"] == pytest.approx(expected["ib_tv"], abs=2e-5)
    assert abs(found["ib_ta"] - expected["ib_ta"]) > 2e-5
    assert abs(found["ib_av"] - expected["ib_av"]) > 2e-5


def test_long_captions_are_told_apart_and_noted(decoded, golden, store):
    first, second, short = golden("imagebind_tiny_longtext")["texts"]
    media = decoded["clip_d"]
    compat = [tv_ib_compat(media, Prompt(text), store) for text in (first, second)]
    fixed = [tv_ib(media, Prompt(text), store) for text in (first, second)]
    assert compat[0].value == compat[1].value
    assert abs(fixed[0].value - fixed[1].value) > 1e-3
    assert fixed[0].detail == {"tokens": 112, "note": "text cut from 112 to 77 tokens"}
    assert tv_ib(media, Prompt(short), store).detail == {"tokens": 4}
    assert tv_ib(media, Prompt(short), store).value == tv_ib_compat(media, Prompt(short), store).value


def test_each_metric_reads_its_own_caption(decoded, store):
    media = decoded["clip_d"]
    joint = Prompt("a dog barks")
    both = Prompt("a dog barks", "a dog on a lawn", "loud barking")
    assert tv_ib(media, joint, store).value == tv_ib(media, both, store).value
    assert ta_ib(media, joint, store).value != ta_ib(media, both, store).value


@pytest.mark.parametrize("scorer", [ta_ib, ta_ib_compat, av_ib, av_ib_compat], ids=lambda scorer: scorer.name)
def test_too_little_sound_is_skipped(scorer, store):
    for samples in (1, 399):
        score = scorer(sounding(samples), Prompt("a dog"), store)
        assert score.status == "skipped"
        assert "25 ms" in score.reason
    assert scorer(sounding(400), Prompt("a dog"), store).status == "ok"


@pytest.mark.parametrize("scorer", [*FIXED.values(), *COMPAT.values()], ids=lambda scorer: scorer.name)
def test_short_and_silent_clips_have_numbers(scorer, store):
    silent = Media.from_arrays("silent", np.zeros((1, 32, 40, 3), dtype=np.uint8), 24.0, np.zeros((6, 4800)), 16000)
    score = scorer(silent, Prompt("a dog"), store)
    assert score.status == "ok"
    assert -1.0 <= score.value <= 1.0


def test_cosine():
    assert cosine(np.array([1.0, 1.0]), np.array([[2.0, 2.0], [-3.0, 3.0], [-1.0, -1.0]])) == pytest.approx([1, 0, -1])
    assert cosine(np.zeros(3), np.ones(3)) == 0.0
    vector = np.random.default_rng(0).normal(size=(100, 50)).astype(np.float32)
    assert (cosine(vector, vector) <= 1.0).all()


def test_modes_and_flags_are_told():
    assert dict(tv_ib.params) == {"mode": "fixed"}
    assert {dict(scorer.params)["flags"] for scorer in COMPAT.values()} == {
        "ib_text_truncation",
        "ib_inplace_mean,ib_text_truncation",
        "ib_inplace_mean",
    }
