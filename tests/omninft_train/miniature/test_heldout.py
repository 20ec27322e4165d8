"""Measures that are never rewarded: they find what the scene says, and tell frozen and hasty clips from real ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omninft_train.miniature import heldout
from omninft_train.miniature.codec import SOLO
from omninft_train.miniature.heldout import HELD_OUT, clip_impacts, impact_times, impacts, level, speed
from omninft_train.miniature.render import frame_times, render, render_scenes
from omninft_train.miniature.world import (
    DURATION,
    FPS,
    FRAMES,
    SAMPLE_RATE,
    SIDE,
    Quality,
    draw_scene,
    evaluation_prompts,
    positions,
    subjects,
)
from omninft_train.models.backbone import Decoded
from omninft_train.prompts import TrainPrompt
from omninft_train.rewards.spec import RewardSpec

SCENES = [draw_scene(500 + index, subject) for index, subject in enumerate(subjects()[::3])]
PROMPTS = [scene.prompt for scene in SCENES]
CLIPS = render_scenes(SCENES)


def judged(judge, clip: Decoded) -> float:
    return judge(clip.frames, clip.fps, clip.waveform, clip.sample_rate, "")


def impact_distance(clips: list[Decoded], prompts: list[TrainPrompt], scenes: int = 4) -> float:
    """Of clips, as an evaluation computes it: from what is kept of each."""
    kept = [clip_impacts(clip, prompt) for clip, prompt in zip(clips, prompts, strict=True)]
    return heldout.impact_distance(kept, prompts, scenes)


def with_frames(frames: list[np.ndarray]) -> list[Decoded]:
    return [replace(clip, frames=new) for clip, new in zip(CLIPS, frames, strict=True)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**39), st.sampled_from(subjects()))
def test_contacts_are_seen_when_they_happen(seed, subject):
    scene = replace(draw_scene(seed, subject), quality=Quality())
    clip = render(scene)
    found = impact_times(clip.frames, clip.fps)
    assert len(found) == len(scene.impacts)
    np.testing.assert_allclose(found, scene.impacts, atol=0.1)
    assert judged(impacts, clip) == pytest.approx(len(scene.impacts) / DURATION)


def test_contacts_are_seen_in_disturbed_clips_and_after_the_codec():
    wanted = [len(scene.impacts) for scene in SCENES]
    for clips in (CLIPS, SOLO.decode(SOLO.encode(CLIPS))):
        found = [len(impact_times(clip.frames, clip.fps)) for clip in clips]
        assert np.mean(np.array(found) == wanted) > 0.9


def test_speed_is_that_of_the_path():
    for scene in SCENES:
        clip = render(replace(scene, quality=Quality()))
        path = positions(scene, frame_times())
        wanted = np.hypot(*np.diff(path, axis=0).T).mean() * FPS
        assert judged(speed, clip) == pytest.approx(wanted, rel=0.1)


def test_frozen_clips_neither_move_nor_touch():
    frozen = with_frames([np.repeat(clip.frames[:1], FRAMES, axis=0) for clip in CLIPS])
    assert all(judged(speed, clip) == 0 and judged(impacts, clip) == 0 for clip in frozen)
    assert math.isnan(impact_distance(frozen, PROMPTS))


def test_speed_and_contacts_double_with_the_tempo():
    for clip in CLIPS[:8]:
        hasty = replace(clip, fps=2 * clip.fps)
        assert judged(speed, hasty) == pytest.approx(2 * judged(speed, clip))
        assert judged(impacts, hasty) == pytest.approx(2 * judged(impacts, clip))


def test_real_intervals_are_near_and_those_of_another_tempo_far():
    real = impact_distance(CLIPS, PROMPTS)
    assert 0 <= real < 0.05
    hasty = [replace(clip, fps=2 * clip.fps) for clip in CLIPS]
    doubled = with_frames([np.concatenate([c.frames[::2], c.frames[::-2]]) for c in CLIPS])
    slow = [replace(clip, fps=0.5 * clip.fps) for clip in CLIPS]
    for worse in (hasty, doubled, slow):
        assert impact_distance(worse, PROMPTS) > 2 * real + 0.03


def test_the_distance_compares_with_scenes_of_the_same_prompts():
    quick = [index for index, scene in enumerate(SCENES) if scene.subject.speed == "quickly"]
    slow = [index for index, scene in enumerate(SCENES) if scene.subject.speed == "slowly"]
    clips = [CLIPS[index] for index in quick]
    same = impact_distance(clips, [PROMPTS[index] for index in quick])
    assert impact_distance(clips, [PROMPTS[index] for index in slow]) > same + 0.1


def test_the_distance_is_the_same_each_time():
    first = impact_distance(CLIPS[:8], PROMPTS[:8], scenes=2)
    assert first == impact_distance(CLIPS[:8], PROMPTS[:8], scenes=2)


def test_level_is_in_decibels_of_full_scale():
    clip = CLIPS[0]
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    full = replace(clip, waveform=np.sin(2 * np.pi * 100 * time)[None].astype(np.float32))
    assert judged(level, full) == pytest.approx(-3.01, abs=0.01)
    assert judged(level, replace(clip, waveform=0.1 * full.waveform)) == pytest.approx(-23.01, abs=0.01)
    assert judged(level, replace(clip, waveform=np.zeros_like(clip.waveform))) == pytest.approx(-120)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_frames_have_a_value(count: int):
    clip = replace(CLIPS[0], frames=CLIPS[0].frames[:count])
    assert judged(speed, clip) >= 0
    assert judged(impacts, clip) >= 0


def test_pictures_without_a_shape_have_values():
    blank = replace(CLIPS[0], frames=np.full((FRAMES, SIDE, SIDE, 3), 38, np.uint8))
    assert judged(speed, blank) == judged(impacts, blank) == 0


def test_they_are_named_as_rewards_are():
    from omninft_train.rewards.local import find_source

    for name in HELD_OUT:
        assert callable(find_source(RewardSpec(name, 0.0, "both")))
    assert len(evaluation_prompts()) >= 16
