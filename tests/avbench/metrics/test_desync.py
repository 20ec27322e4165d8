"""DeSync and its companions from given logits, and end to end with test weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.synchformer.encoders import AUDIO, EIGHT_SECONDS, FOUR_SECONDS, OWN_LENGTH, VIDEO
from avbench.media import Media, decode_clip
from avbench.metrics.desync import OFFSETS, desync, desync_compat, desync_margin, margins, mean_offset, reward_desync

ALL = [desync, desync_margin, desync_compat, reward_desync]
some_logits = arrays(np.float32, st.tuples(st.integers(1, 5), st.just(21)), elements=st.floats(-100, 100, width=32))


class GivenLogits:
    """A store that answers with logits per encoder."""

    def __init__(self, logits, encoder=None):
        self.logits, self.encoder = logits, encoder

    def embed(self, encoder, media, prompt=None):
        assert self.encoder in (None, encoder)
        return self.logits


def peaks(*classes, height=1.0):
    logits = np.zeros((len(classes), 21), dtype=np.float32)
    logits[np.arange(len(classes)), classes] = height
    return logits


def score(scorer, logits, encoder=None):
    return scorer(Media("x", None, None), Prompt(), GivenLogits(logits, encoder))


@pytest.mark.parametrize("name", ["clip_a", "clip_b", "clip_c", "clip_d"])
def test_reference_logits_give_the_reference_score(name, golden, golden_clips):
    expected = golden("synchformer")[name]
    content = np.load(golden_clips.parent / f"synchformer_{name}.npz")
    logits = np.stack([content[f"block{number}_logits"] for number in range(expected["blocks"])])
    result = score(desync_compat, logits, FOUR_SECONDS)
    assert result.value == expected["desync"]
    assert result.detail["classes"] == expected["argmax"]
    np.testing.assert_allclose(result.detail["margins"], expected["margin"], atol=1e-5)
    assert score(desync, logits, OWN_LENGTH).value == expected["desync"]
    assert score(desync_margin, logits, OWN_LENGTH).value == pytest.approx(min(expected["margin"]), abs=1e-5)


def test_in_step_and_as_far_out_as_can_be():
    assert score(desync, peaks(10)).value == 0.0
    assert score(desync, peaks(0, 20)).value == 2.0
    assert score(reward_desync, peaks(10), EIGHT_SECONDS).value == 1.0
    assert score(reward_desync, peaks(0, 20)).value == pytest.approx(1 / 3)


def test_blocks_are_averaged_without_sign():
    result = score(desync, peaks(14, 6, 10))
    assert result.value == pytest.approx((0.8 + 0.8 + 0.0) / 3)
    assert result.detail["blocks"] == 3


def test_the_sign_says_who_is_late():
    """Class 14 is +0.8 s of the network, an early sound; here a late sound is positive."""
    assert score(desync, peaks(14, 6, 10)).detail["offsets_s"] == [-0.8, 0.8, 0.0]


def test_margin_is_the_smallest_over_blocks():
    logits = np.concatenate([peaks(3, height=5.0), peaks(4, height=0.25), peaks(5, height=2.0)])
    assert score(desync_margin, logits).value == 0.25
    assert margins(peaks(0, height=0.0)).tolist() == [0.0]


@pytest.mark.parametrize("scorer", ALL, ids=lambda scorer: scorer.name)
def test_no_block_is_skipped_with_a_reason(scorer):
    result = score(scorer, np.zeros((0, 21), dtype=np.float32))
    assert result.status == "skipped"
    assert result.reason


@given(some_logits)
def test_ranges(logits):
    assert 0.0 <= mean_offset(logits) <= 2.0
    assert (margins(logits) >= 0).all()
    assert mean_offset(logits) == pytest.approx(mean_offset(logits[:, ::-1])) or (margins(logits) == 0).any()


def test_grid():
    np.testing.assert_allclose(np.diff(OFFSETS), 0.2, atol=1e-6)
    assert (OFFSETS[0], OFFSETS[10], OFFSETS[20]) == (-2.0, 0.0, 2.0)


@pytest.fixture(scope="module")
def store():
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    return EncoderStore(setup=WeightsConfig(weights="keyed-random-reduced"))


@pytest.mark.parametrize("scorer", ALL, ids=lambda scorer: scorer.name)
def test_a_file_end_to_end(scorer, store, golden_clips):
    clip = Clip("d", golden_clips / "clip_d.mp4", golden_clips / "clip_d.wav")
    media = decode_clip(clip, "d", (VIDEO, AUDIO))
    result = scorer(media, Prompt(), store)
    assert result.status == "ok"
    assert scorer.range[0] <= result.value <= scorer.range[1]
    assert result.detail["blocks"] == (2 if scorer is reward_desync else 1)


@pytest.mark.parametrize(("frames", "seconds"), [(1, 1 / 16000), (8, 0.3), (15, 10.0)])
def test_short_clips_are_skipped(frames, seconds, store):
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (frames, 32, 48, 3)).astype(np.uint8)
    sound = generator.standard_normal((2, max(1, round(seconds * 16000))))
    media = Media.from_arrays(f"short {frames}", pictures, 25.0, 0.1 * sound, 16000)
    assert desync(media, Prompt(), store).status == "skipped"
    assert desync_margin(media, Prompt(), store).status == "skipped"
    assert desync_compat(media, Prompt(), store).status == ("skipped" if frames == 1 else "ok")


def test_padding_separates_the_modes(store):
    """A clip of 1.5 s: the fixed mode sees three segments again and again, the reference black and silence."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (38, 32, 48, 3)).astype(np.uint8)
    media = Media.from_arrays("1.5 s", pictures, 25.0, 0.1 * generator.standard_normal((1, 24000)), 16000)
    assert not np.array_equal(store.embed(OWN_LENGTH, media), store.embed(FOUR_SECONDS, media))
