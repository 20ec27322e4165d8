"""Rewards of the miniature: in [0, 1], falling as clips get worse, and deaf and blind to what is not theirs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omninft_train.errors import UsageError
from omninft_train.miniature.codec import SOLO
from omninft_train.miniature.judges import audio_parts, picture, sound, sync, video_parts
from omninft_train.miniature.render import BACKGROUND, render_scenes
from omninft_train.miniature.world import (
    FPS,
    FRAMES,
    SAMPLE_RATE,
    SAMPLES,
    SIDE,
    Quality,
    Scene,
    Subject,
    describe,
    draw_scene,
    subjects,
)
from omninft_train.models.backbone import Decoded

Judge = Callable[[np.ndarray, float, np.ndarray, int, str], float]
JUDGES: tuple[Judge, ...] = (picture, sound, sync)
# One of each shape, motion, speed and size; 24 scenes of a few milliseconds each.
SCENES = [draw_scene(100 + index, subject) for index, subject in enumerate(subjects()[::4])]
BLANK = np.full((FRAMES, SIDE, SIDE, 3), round(BACKGROUND * 255), np.uint8)


@cache
def drawn(quality: Quality = Quality()) -> list[Decoded]:  # noqa: B008 - frozen
    return render_scenes([replace(scene, quality=quality) for scene in SCENES])


def judged(judge: Judge, clips: Sequence[Decoded], scenes: Sequence[Scene] = SCENES) -> np.ndarray:
    return np.array(
        [
            judge(clip.frames, clip.fps, clip.waveform, clip.sample_rate, scene.prompt.prompt_av)
            for clip, scene in zip(clips, scenes, strict=True)
        ]
    )


def shifted(clips: Sequence[Decoded], seconds: float) -> list[Decoded]:
    """Sound later than the picture, without a wrap."""
    count = round(seconds * SAMPLE_RATE)
    return [replace(c, waveform=np.pad(c.waveform, ((0, 0), (count, 0)))[:, : c.waveform.shape[1]]) for c in clips]


def other_subjects(**changes: dict[str, str]) -> list[str]:
    """Prompts of the scenes with some words exchanged."""
    texts = []
    for scene in SCENES:
        new = {kind: words[getattr(scene.subject, kind)] for kind, words in changes.items()}
        texts.append(describe(replace(scene.subject, **new)).prompt_av)
    return texts


@pytest.mark.parametrize("judge", JUDGES)
def test_clean_scenes_score_high_and_real_ones_above_half(judge: Judge):
    clean = judged(judge, drawn())
    assert clean.mean() > 0.83 and clean.min() > 0.65
    real = judged(judge, render_scenes(SCENES))
    assert 0.5 < real.mean() <= clean.mean() + 0.01


def test_the_codec_leaves_room_for_better_and_worse():
    clean = SOLO.decode(SOLO.encode(drawn()))
    for judge in (sound, sync):
        np.testing.assert_allclose(judged(judge, clean), judged(judge, drawn()), atol=0.05)
    # Edges are softer and less steady after it, so a perfect generator scores no more than this.
    best = judged(picture, clean)
    assert best.mean() > 0.55
    for worse in (Quality(grain=0.08), Quality(flicker=0.2), Quality(blur=5.0)):
        assert (best - judged(picture, SOLO.decode(SOLO.encode(drawn(worse)))) > 0).mean() > 0.9


CORRUPTIONS: dict[str, tuple[Judge, tuple[float, ...], float]] = {
    "grain": (picture, (0.0, 0.04, 0.08, 0.16, 0.3), 0.5),
    "flicker": (picture, (0.0, 0.08, 0.16, 0.32, 0.6), 0.3),
    "blur": (picture, (1.5, 2.5, 4.0, 6.0, 9.0), 0.25),
    "hiss": (sound, (0.0, 0.02, 0.05, 0.1, 0.2), 0.4),
    "hum": (sound, (0.0, 0.02, 0.05, 0.1, 0.2), 0.4),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_scores_fall_as_a_fault_grows(name: str):
    judge, sizes, least = CORRUPTIONS[name]
    scores = np.array([judged(judge, drawn(replace(Quality(), **{name: size}))) for size in sizes])
    assert (np.diff(scores.mean(axis=1)) < -0.02).all()
    # Not only on average: next to no scene scores more with more of the fault.
    assert (np.diff(scores, axis=0) < 0.01).mean() > 0.9
    assert scores[0].mean() - scores[-1].mean() > least


@pytest.mark.parametrize("judge", JUDGES)
def test_a_judge_passes_over_faults_of_the_other_modality(judge: Judge):
    clean = judged(judge, drawn())
    if judge is not sound:
        np.testing.assert_allclose(judged(judge, drawn(Quality(hiss=0.02, hum=0.02))), clean, atol=0.05)
    if judge is not picture:
        np.testing.assert_allclose(judged(judge, drawn(Quality(grain=0.04, flicker=0.1))), clean, atol=0.05)


def test_sync_falls_as_sound_comes_later():
    scores = [judged(sync, shifted(drawn(), seconds)).mean() for seconds in (0, 0.05, 0.1, 0.15)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.85 and scores[1] < scores[0] - 0.1 and scores[2] < 0.5 and scores[3] < 0.3


def test_sync_tells_pairs_from_shuffled_pairs():
    for clips in (render_scenes(SCENES), SOLO.decode(SOLO.encode(render_scenes(SCENES)))):
        real = judged(sync, clips)
        other = judged(sync, [replace(clips[i], waveform=clips[i - 7].waveform) for i in range(len(clips))])
        assert real.mean() > 0.85
        assert other.mean() < 0.4
        assert (real > other).mean() > 0.9


def test_sync_does_not_depend_on_how_loud_it_is():
    clips = drawn()
    quiet = [replace(clip, waveform=0.2 * clip.waveform) for clip in clips]
    np.testing.assert_allclose(judged(sync, quiet), judged(sync, clips), atol=0.01)


SWAPS: dict[str, tuple[Judge, dict[str, dict[str, str]], float]] = {
    "colour": (picture, {"colour": {"red": "green", "green": "blue", "blue": "yellow", "yellow": "red"}}, 0.15),
    "shape": (picture, {"shape": {"circle": "square", "square": "triangle", "triangle": "circle"}}, 0.06),
    "pitch": (sound, {"pitch": {"low": "high", "high": "low"}}, 0.3),
    "timbre": (sound, {"timbre": {"wooden": "metal", "metal": "glass", "glass": "wooden"}}, 0.12),
}


@pytest.mark.parametrize("name", SWAPS)
def test_a_clip_of_another_prompt_scores_less(name: str):
    judge, change, least = SWAPS[name]
    wrong = other_subjects(**change)
    right = judged(judge, drawn())
    scores = [judge(c.frames, c.fps, c.waveform, c.sample_rate, text) for c, text in zip(drawn(), wrong, strict=True)]
    assert (right - scores > least).all()


def test_what_a_prompt_does_not_say_is_not_judged():
    clip = drawn()[0]
    assert set(video_parts(clip.frames, "")) == {"sharpness", "steadiness"}
    assert set(video_parts(clip.frames, "red")) == {"sharpness", "steadiness", "colour"}
    assert set(video_parts(clip.frames, "circle")) == {"sharpness", "steadiness", "shape"}
    assert set(audio_parts(clip.waveform, clip.sample_rate, "low")) == {"quiet"}
    assert set(audio_parts(clip.waveform, clip.sample_rate, "low wooden")) == {"quiet", "pitch", "purity"}


def test_a_judge_understands_the_part_of_the_prompt_that_it_is_given():
    for scene, clip in list(zip(SCENES, drawn(), strict=True))[::6]:
        arguments = (clip.frames, clip.fps, clip.waveform, clip.sample_rate)
        assert picture(*arguments, scene.prompt.prompt_v) == picture(*arguments, scene.prompt.prompt_av)
        assert sound(*arguments, scene.prompt.prompt_a) == sound(*arguments, scene.prompt.prompt_av)
        assert sync(*arguments, "") == sync(*arguments, scene.prompt.prompt_av)


def test_a_contradictory_prompt_is_refused():
    clip = drawn()[0]
    with pytest.raises(UsageError, match="names both red and green"):
        picture(clip.frames, clip.fps, clip.waveform, clip.sample_rate, "a red green circle")


@pytest.mark.parametrize("frames", [BLANK, np.zeros_like(BLANK), np.full_like(BLANK, 255)])
def test_a_picture_without_a_shape_is_worth_nothing(frames: np.ndarray):
    # Else a policy could win by blanking what it draws badly.
    assert picture(frames, FPS, np.zeros((1, SAMPLES), np.float32), SAMPLE_RATE, "a red circle") < 0.05


def test_a_shape_that_is_gone_half_of_the_time_costs_half():
    clips = drawn()
    half = [replace(c, frames=np.concatenate([c.frames[:8], BLANK[8:]])) for c in clips]
    assert judged(picture, half).mean() < 0.6 * judged(picture, clips).mean()


def test_silence_is_worth_nothing():
    silent = np.zeros((1, SAMPLES), np.float32)
    for scene, clip in zip(SCENES, drawn(), strict=True):
        assert sound(clip.frames, FPS, silent, SAMPLE_RATE, scene.prompt.prompt_av) < 0.01
        assert sync(clip.frames, FPS, silent, SAMPLE_RATE, "") == pytest.approx(math.log(2) / math.log1p(math.exp(4)))


def odd_frames(kind: str, random: np.random.Generator) -> np.ndarray:
    if kind == "flat":
        return np.full_like(BLANK, random.integers(256))
    if kind == "noise":
        return random.integers(0, 256, BLANK.shape, np.uint8)
    if kind == "speck":
        frames = BLANK.copy()
        frames[tuple(random.integers(0, size) for size in frames.shape[:3])] = 255
        return frames
    return decode_noise(random).frames


def odd_sound(kind: str, random: np.random.Generator) -> np.ndarray:
    if kind == "flat":
        return np.full((1, SAMPLES), random.uniform(-1, 1), np.float32)
    if kind == "noise":
        return random.uniform(-1, 1, (2, SAMPLES)).astype(np.float32)
    if kind == "speck":
        waveform = np.zeros((1, SAMPLES), np.float32)
        waveform[0, random.integers(SAMPLES)] = 1
        return waveform
    return decode_noise(random).waveform


def decode_noise(random: np.random.Generator) -> Decoded:
    scale = float(random.uniform(0, 4))
    return SOLO.decode(SOLO.geometry.noise([int(random.integers(2**31))]).map(lambda stream: scale * stream))[0]


KINDS = st.sampled_from(["flat", "noise", "speck", "decoded"])


@settings(max_examples=60, deadline=None)
@given(KINDS, KINDS, st.integers(0, 2**32), st.sampled_from(subjects()), st.booleans())
def test_every_clip_gets_a_number_in_0_to_1(seen: str, heard: str, seed: int, subject: Subject, said: bool):
    random = np.random.default_rng(seed)
    frames, waveform = odd_frames(seen, random), odd_sound(heard, random)
    before = frames.copy(), waveform.copy()
    for judge in JUDGES:
        value = judge(frames, FPS, waveform, SAMPLE_RATE, describe(subject).prompt_av if said else "")
        assert isinstance(value, float) and 0 <= value <= 1
    assert np.array_equal(frames, before[0]) and np.array_equal(waveform, before[1])


@pytest.mark.parametrize("samples", [0, 1, 79, 80, 200, 399, 400, 1000])
def test_short_sounds_get_a_number(samples: int):
    clip = drawn()[0]
    for judge in (sound, sync):
        value = judge(clip.frames, clip.fps, clip.waveform[:, :samples], clip.sample_rate, "low wooden")
        assert 0 <= value <= 1
