"""CLIP score against the reference's numbers, and its two modes."""

from __future__ import annotations

import numpy as np
import pytest

from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.clip import CLIP_FRAMES
from avbench.media import Media, decode_clip
from avbench.metrics.clip_score import clip_score, clip_score_compat, mean_cosine

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

CLIPS = ["clip_a", "clip_b", "clip_c", "clip_d"]


@pytest.fixture(scope="module")
def store():
    return EncoderStore(setup=WeightsConfig(weights="keyed-random-reduced"))


def drawn(name: str, frames: int, colour=(200, 40, 10)) -> Media:
    pictures = np.random.default_rng(0).integers(0, 40, (frames, 40, 60, 3)).astype(np.uint8)
    return Media.from_arrays(name, pictures + np.array(colour, np.uint8), 24.0)


@pytest.mark.parametrize("name", CLIPS)
def test_formula_equals_the_reference_on_its_features(name, golden, golden_clips):
    arrays = np.load(golden_clips.parent / "clip_vitb32.npz")
    value = mean_cosine(arrays[f"{name}_img"], arrays[f"{name}_txt"][0])
    assert value == pytest.approx(golden("clip_vitb32")[name]["score_compat_bgr"], abs=1e-6)


def test_the_modes_differ_by_the_order_of_colours(store):
    """Compat of a clip is fixed of the clip with red and blue exchanged."""
    prompt, media = Prompt("a red square"), drawn("red", 5)
    swapped = drawn("blue", 5)
    swapped.frames = np.ascontiguousarray(media.frames[..., ::-1])
    fixed, compat = clip_score(media, prompt, store), clip_score_compat(media, prompt, store)
    assert fixed.value != compat.value
    assert compat.value == pytest.approx(clip_score(swapped, prompt, store).value, abs=1e-6)
    assert dict(clip_score.params)["mode"] == "fixed"
    assert dict(clip_score_compat.params)["flags"] == "clip_bgr"


def test_the_joint_prompt_is_read(store):
    media = drawn("joint", 3)
    joint = clip_score(media, Prompt("rain on a roof"), store)
    other = clip_score(media, Prompt("rain on a roof", video_text="a dog", audio_text="a cat"), store)
    assert joint == other
    assert joint.value != clip_score(media, Prompt("a dog"), store).value
    assert clip_score.prompt_role == "text"


def test_a_cut_text_is_told(store):
    media = drawn("cut", 1)
    assert clip_score(media, Prompt("rain " * 75), store).detail == {"tokens": 77}
    long = clip_score(media, Prompt("rain " * 76), store)
    assert long.detail == {"tokens": 78, "note": "text cut from 78 to 77 tokens"}


@pytest.mark.slow
def test_scores_equal_the_reference(golden, golden_clips):
    store = EncoderStore(setup=WeightsConfig(weights="keyed-random"))
    for name in CLIPS:
        expected = golden("clip_vitb32")[name]
        clip = Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav")
        media, prompt = decode_clip(clip, name, CLIP_FRAMES.views), Prompt(expected["prompt"])
        fixed, compat = clip_score(media, prompt, store), clip_score_compat(media, prompt, store)
        assert fixed.value == pytest.approx(expected["score_rgb"], abs=1e-4)
        assert compat.value == pytest.approx(expected["score_compat_bgr"], abs=1e-4)
