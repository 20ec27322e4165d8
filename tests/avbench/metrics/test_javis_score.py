"""AVHScore and JavisScore against the reference's numbers, their windows, and clips that have no score."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.imagebind.geometry import audio_windows
from avbench.media import Media, decode_clip
from avbench.metrics.imagebind_score import cosine
from avbench.metrics.javis_score import (
    avh_score,
    avh_score_compat,
    javis_score,
    javis_score_compat,
    lowest_mean,
    pair_windows,
)

pytest.importorskip("torch")
pytest.importorskip("open_clip")

GOLDENS = Path(__file__).parents[2] / "goldens" / "metrics"
ALL = pytest.mark.parametrize(
    "scorer", [avh_score, avh_score_compat, javis_score, javis_score_compat], ids=lambda scorer: scorer.name
)


@pytest.fixture(scope="module")
def store():
    return EncoderStore(setup=WeightsConfig("keyed-random-reduced"))


def decode(name, golden_clips):
    clip = Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav")
    return decode_clip(clip, name, javis_score.all_views)


def drawn(frames=96, samples=64000, fps=24.0):
    generator = np.random.default_rng(frames)
    pictures = generator.integers(0, 256, (frames, 32, 32, 3)).astype(np.uint8)
    sound = 0.1 * generator.standard_normal((2, samples))
    return Media.from_arrays(f"{frames} {samples} {fps}", pictures, fps, sound, 16000)


@pytest.mark.parametrize("name", ["clip_a", "clip_b", "clip_c", "clip_d"])
def test_equals_the_reference(name, golden, golden_clips, store):
    expected = golden("imagebind_tiny")[name]
    media = decode(name, golden_clips)
    assert avh_score_compat(media, Prompt(), store).value == pytest.approx(expected["avh"], abs=2e-5)
    assert javis_score_compat(media, Prompt(), store).value == pytest.approx(expected["javis"], abs=2e-5)


@pytest.mark.parametrize("case", ["f1", "f2", "f3", "f4", "f5_nan"])
def test_formulas_equal_the_reference(case, golden):
    arrays = np.load(GOLDENS / "av_score_formula.npz")
    frames, audio, sounds, starts, size = (
        arrays[f"{case}_{field}"] for field in ("frames", "audio", "win_audio", "starts", "N")
    )
    expected = golden("av_score_formula")[case]
    assert cosine(frames, audio).mean() == pytest.approx(expected["avh"], abs=1e-5)
    values = lowest_mean(frames, sounds, [(start, start + int(size)) for start in starts.tolist()])
    if math.isnan(expected["javis"]):
        assert values is None
    else:
        assert values.mean() == pytest.approx(expected["javis"], abs=1e-5)


def test_windows_equal_the_reference(golden):
    for case in golden("av_score_windows"):
        sounds = audio_windows(case["n_audio"])
        found = pair_windows(case["n_frames"], case["fps"], len(sounds))
        assert [list(span) for span in found] == case["video_windows"]
        if len(found) > 1:
            assert [list(span) for span in sounds[: len(found)]] == case["audio_windows"]
        else:
            assert case["audio_windows"] == [[0, case["n_audio"]]]


def test_means_in_place_move_the_number(golden, golden_clips, store):
    media = decode("clip_b", golden_clips)
    for fixed, compat in ((avh_score, avh_score_compat), (javis_score, javis_score_compat)):
        assert abs(fixed(media, Prompt(), store).value - compat(media, Prompt(), store).value) > 2e-5


def test_longer_of_the_two_tracks_is_cut(store):
    for frames, samples, windows in ((16, 160000, 5), (40, 64000, 5), (8, 160000, 1)):
        assert len(javis_score(drawn(frames, samples, 4.0), Prompt(), store).detail["windows"]) == windows


def test_one_pair_uses_the_sound_as_a_whole(store):
    media = drawn(8, 160000, 4.0)
    score = javis_score(media, Prompt(), store)
    frames, sounds = (store.embed(encoder, media) for encoder in javis_score.encoders)
    assert score.value == pytest.approx(np.sort(cosine(frames, sounds[0]))[:3].mean())
    assert len(score.detail["windows"]) == 1


@pytest.mark.parametrize(("frames", "fps"), [(1, 24.0), (2, 24.0), (9, 1.0), (9, 0.3)])
def test_too_few_frames_for_a_share_are_skipped(frames, fps, store):
    media = drawn(frames, 64000, fps)
    for scorer in (javis_score, javis_score_compat):
        score = scorer(media, Prompt(), store)
        assert score.status == "skipped"
        assert "fewer than 3 frames" in score.reason
    assert avh_score(media, Prompt(), store).status == "ok"


def test_three_frames_suffice(store):
    assert javis_score(drawn(3), Prompt(), store).status == "ok"


@ALL
def test_too_little_sound_is_skipped(scorer, store):
    score = scorer(drawn(6, 399), Prompt(), store)
    assert score.status == "skipped"
    assert "25 ms" in score.reason
    assert scorer(drawn(6, 400), Prompt(), store).status == "ok"
