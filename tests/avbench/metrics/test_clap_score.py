"""CLAP score against the reference's numbers, its modes, and OmniNFT's reward."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.clap import CLAP_AUDIO, CLAP_AUDIO_SINC
from avbench.media import Media, decode_clip
from avbench.metrics.clap_score import (
    clap_score,
    clap_score_compat,
    clap_score_laion,
    cosine,
    reward,
    reward_clap,
)

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

PROMPTS = {
    "clip_a": "short clicks at each impact, low hum",
    "clip_b": "percussive taps over a steady tone",
    "clip_c": "irregular knocks",
    "clip_d": "a single click",
}
DOG = Prompt("a street", audio_text="a dog barks")


@pytest.fixture(scope="module")
def store():
    return EncoderStore(setup=WeightsConfig(weights="keyed-random-reduced"))


def drawn(seconds: float, rate: int = 48000) -> Media:
    sound = 0.1 * np.random.default_rng(1).standard_normal((2, int(seconds * rate)))
    return Media.from_arrays(f"noise {seconds} {rate}", None, 24.0, sound, rate)


@pytest.mark.parametrize("name", PROMPTS)
def test_formula_equals_the_reference_on_its_embeddings(name, golden, golden_clips):
    arrays, expected = np.load(golden_clips.parent / "clap.npz"), golden("clap")[name]
    text = arrays[f"{name}_text_embeds"][0]
    for key, score in (("audio_embeds", "score_zero_pad"), ("audio_embeds_repeatpad", "score_repeatpad")):
        assert cosine(arrays[f"{name}_{key}"][0], text) == pytest.approx(expected[score], abs=1e-6)


def test_a_zero_vector_has_no_direction():
    assert cosine(np.zeros(4, np.float32), np.ones(4, np.float32)) == 0.0


@pytest.mark.parametrize(("similarity", "value"), [(-1.2, 0.0), (-1.0, 0.0), (0.0, 0.5), (0.5, 0.75), (1.1, 1.0)])
def test_the_reward_is_clamped(similarity, value):
    assert reward(similarity) == value


def test_the_modes_differ_below_ten_seconds_only(store):
    short, whole = drawn(3.0), drawn(10.0)
    assert clap_score(short, DOG, store).value != clap_score_compat(short, DOG, store).value
    assert clap_score(whole, DOG, store).value == clap_score_compat(whole, DOG, store).value
    assert dict(clap_score.params)["mode"] == "fixed"
    assert dict(clap_score_compat.params)["flags"] == "clap_zero_pad"


def test_the_reward_is_the_compat_score_with_the_other_resampler(store):
    native, other = drawn(3.0), drawn(3.0, 32000)
    exact = reward_clap(native, DOG, store)
    assert exact.value == pytest.approx((clap_score_compat(native, DOG, store).value + 1) / 2, abs=1e-6)
    assert reward_clap(other, DOG, store).detail["cosine"] != clap_score_compat(other, DOG, store).value
    assert reward_clap(other, DOG, store).value == pytest.approx(
        (clap_score_compat(other, DOG, store).value + 1) / 2, abs=0.02
    )


def test_the_prompt_for_the_sound_is_read(store):
    media = drawn(1.0)
    assert clap_score(media, DOG, store) == clap_score(media, Prompt("a dog barks"), store)
    assert clap_score(media, DOG, store).value != clap_score(media, Prompt("a street"), store).value


def test_what_was_cut_is_told(store):
    long, text = drawn(12.0), Prompt("x" * 600)
    assert clap_score(drawn(10.0), DOG, store).detail == {"tokens": 13}
    assert clap_score(long, DOG, store).detail["note"] == "first 10 s of 12.00 s of sound"
    note = "text cut from 602 to 512 tokens; first 10 s of 12.00 s of sound"
    assert clap_score(long, text, store).detail["note"] == note
    assert reward_clap(long, text, store).detail["note"] == note


def test_compat_has_no_number_where_the_reference_fails(store):
    score = clap_score_compat(drawn(1.0), Prompt("x" * 511), store)
    assert score.status == "skipped"
    assert "513 tokens" in score.reason
    assert clap_score_compat(drawn(1.0), Prompt("x" * 510), store).status == "ok"


@pytest.mark.parametrize("scorer", [clap_score, clap_score_compat, reward_clap])
def test_less_than_a_sample_is_skipped_and_one_is_not(scorer, store):
    one = Media.from_arrays("one", None, 24.0, np.ones((1, 1)), 192_000)
    assert scorer(one, DOG, store).status == "skipped"
    assert scorer(Media.from_arrays("few", None, 24.0, np.ones((1, 1)), 48_000), DOG, store).status == "ok"


def test_the_second_backend_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("avbench.encoders.base.find_spec", lambda name: None if name == "laion_clap" else name)
    reason = clap_score_laion.unavailable(WeightsConfig(weights="keyed-random-reduced"))
    assert reason == "not installed: laion_clap; pip install 'avbench[reference]'"


@pytest.mark.slow
def test_scores_equal_the_reference(golden, golden_clips):
    """1e-4 at 48 kHz; elsewhere within what the reference's resampler, librosa 0.9.2, moves."""
    store = EncoderStore(setup=WeightsConfig(weights="keyed-random"))
    for name, text in PROMPTS.items():
        expected, prompt = golden("clap")[name], Prompt(text)
        clip = Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav")
        media = decode_clip(clip, name, CLAP_AUDIO.views + CLAP_AUDIO_SINC.views)
        tolerance = 1e-4 if name == "clip_c" else 2e-3
        assert clap_score(media, prompt, store).value == pytest.approx(expected["score_repeatpad"], abs=tolerance)
        assert clap_score_compat(media, prompt, store).value == pytest.approx(expected["score_zero_pad"], abs=tolerance)
        sinc = reward_clap(media, prompt, store).detail["cosine"]
        assert sinc == pytest.approx(expected["score_zero_pad"], abs=tolerance)
