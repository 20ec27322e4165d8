"""Scenes follow from their seed, touch what they bounce off, and are described in words that are understood back."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import astuple, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omninft_train.errors import UsageError
from omninft_train.miniature.world import (
    DURATION,
    PITCH_OF_SIZE,
    RADII,
    SIDE,
    SPEEDS,
    TIMBRE_OF_SHAPE,
    Scene,
    Subject,
    describe,
    draw_scene,
    evaluation_prompts,
    positions,
    subjects,
    training_prompts,
    understand,
)

SEEDS = st.integers(0, 2**63 - 1)
SUBJECTS = st.sampled_from(subjects())
SCENES = st.builds(draw_scene, SEEDS, SUBJECTS)


def test_every_subject_is_there_once():
    assert len(subjects()) == len(set(subjects())) == 96
    for entry in fields(Subject):
        counts = Counter(getattr(subject, entry.name) for subject in subjects())
        assert len(set(counts.values())) == 1  # each value of a kind equally often
    assert all(subject.pitch == PITCH_OF_SIZE[subject.size] for subject in subjects())
    assert all(subject.timbre == TIMBRE_OF_SHAPE[subject.shape] for subject in subjects())


@given(SUBJECTS)
def test_what_is_described_is_understood(subject):
    prompt = describe(subject)
    assert understand(prompt.prompt_av) == subject
    assert understand(prompt.prompt_v) == replace(subject, pitch=None, timbre=None)
    assert understand(prompt.prompt_a) == Subject(speed=subject.speed, pitch=subject.pitch, timbre=subject.timbre)


@given(SUBJECTS, st.randoms(use_true_random=False), st.sampled_from([str.upper, str.title, str.lower]))
def test_order_case_punctuation_and_other_words_do_not_matter(subject, shuffler: random.Random, case):
    words = [*describe(subject).prompt_av.replace(",", "").split(), "bluetooth", "circles", "please"]
    shuffler.shuffle(words)
    assert understand(case(" ... ".join(words)) + "!") == subject


def test_what_is_not_said_is_not_understood():
    assert understand("") == understand("a scene of something") == Subject()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a red blue circle", "red and blue"),
        ("a small large circle", "small and large"),
        ("bounces and glides", "bounces and glides"),
        ("moves quickly, slow knocks", "slowly and quickly"),
    ],
)
def test_two_of_a_kind_are_refused(text, names):
    with pytest.raises(UsageError, match=f"names both {names}"):
        understand(text)


def test_prompts_of_training_and_evaluation_share_nothing_and_leave_nothing_out():
    training, evaluation = (
        [prompt.prompt_av for prompt in part] for part in (training_prompts(), evaluation_prompts())
    )
    assert len(evaluation) == 16
    assert sorted(training + evaluation) == sorted(describe(subject).prompt_av for subject in subjects())
    for part in (training, evaluation):
        found = [understand(text) for text in part]
        for entry in fields(Subject):
            assert {getattr(s, entry.name) for s in found} == {getattr(s, entry.name) for s in subjects()}


@given(SEEDS)
def test_a_seed_decides_everything(seed):
    scene = draw_scene(seed)
    assert scene == draw_scene(seed)
    assert scene != draw_scene(seed + 1)
    assert scene == draw_scene(seed, scene.subject)


def test_subjects_are_drawn_equally_often():
    counts = Counter(draw_scene(seed).subject for seed in range(2000))
    assert len(counts) == 96
    assert max(counts.values()) < 2000 / 96 * 2.2


@given(SCENES)
def test_contacts_enclose_the_clip_at_intervals_of_the_speed(scene):
    assert scene.contacts[0] <= 0 and scene.contacts[-1] >= DURATION
    assert scene.impacts == tuple(time for time in scene.contacts if 0 < time < DURATION)
    assert all(0.1 <= time <= DURATION - 0.1 for time in scene.impacts)
    shortest, longest = SPEEDS[scene.subject.speed]
    intervals = np.diff(scene.contacts)
    assert (intervals >= shortest - 1e-9).all() and (intervals <= longest + 1e-9).all()
    assert len(scene.impacts) >= 2


def test_most_clips_are_nearly_clean_and_some_are_bad():
    found = np.array([astuple(draw_scene(seed).quality) for seed in range(500)])
    assert (found >= 0).all()
    fraction = (found - found.min(axis=0)) / np.ptp(found, axis=0)
    assert (np.median(fraction, axis=0) < 0.33).all()
    assert ((fraction > 0.6).mean(axis=0) > 0.05).all()
    # Drawn apart from each other, so that a bad picture does not go with bad sound.
    assert np.abs(np.corrcoef(found.T) - np.eye(5)).max() < 0.2


def rim(scene: Scene) -> float:
    return RADII[scene.subject.size]


@given(SCENES)
def test_contacts_touch_the_floor_or_the_walls_in_turn(scene):
    places = positions(scene, np.array(scene.contacts))
    if scene.subject.motion == "bounces":
        np.testing.assert_allclose(places[:, 0] + rim(scene), SIDE - 1)
        return
    walls = (1 + rim(scene), SIDE - 1 - rim(scene))
    expected = [walls[(index + scene.start) % 2] for index in range(len(places))]
    np.testing.assert_allclose(places[:, 1], expected)


@given(SCENES)
def test_the_shape_stays_in_the_picture_and_jumps_nowhere(scene):
    times = np.linspace(0, DURATION, 400)
    places = positions(scene, times)
    assert (places >= rim(scene) + 1 - 1e-9).all()
    assert (places <= SIDE - 1 - rim(scene) + 1e-9).all()
    # The quickest bounce, over the whole height: 4 x reach / interval pixels per second.
    fastest = 4 * scene.reach / SPEEDS[scene.subject.speed][0] + SIDE / DURATION
    assert np.abs(np.diff(places, axis=0)).max() <= fastest * (times[1] - times[0])


@given(SCENES)
def test_a_bounce_is_highest_between_contacts(scene):
    if scene.subject.motion != "bounces":
        return
    contacts = np.array(scene.contacts)
    tops = positions(scene, (contacts[1:] + contacts[:-1]) / 2)[:, 0]
    np.testing.assert_allclose(SIDE - 1 - rim(scene) - tops, scene.reach)


def test_a_scene_says_what_it_shows():
    scene = draw_scene(3)
    assert scene.prompt == describe(scene.subject)
    assert scene.prompt.metadata == {"set": scene.subject.shape}
