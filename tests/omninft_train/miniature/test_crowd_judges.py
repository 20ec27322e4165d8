"""Rewards of the crowd: they fall as clips get worse, know which shape sounds, and do not pay for slowness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from omninft_train.miniature import heldout as solo_heldout
from omninft_train.miniature.crowd import heldout
from omninft_train.miniature.crowd.judges import look_around, motion, picture, sound, sync
from omninft_train.miniature.crowd.scenes import CODEC, FRAMES, SAMPLES, SIDE, Mover, Scene, draw_scene, render_scenes
from omninft_train.miniature.render import BACKGROUND, frame_times
from omninft_train.miniature.world import FPS, SAMPLE_RATE, Quality
from omninft_train.models.backbone import Decoded

Judge = Callable[[np.ndarray, float, np.ndarray, int, str], float]
JUDGES: tuple[Judge, ...] = (picture, motion, sound, sync)
SCENES = [replace(draw_scene(500 + seed), quality=Quality()) for seed in range(32)]
CLIPS = render_scenes(SCENES)


def judged(judge: Judge, clips: Sequence[Decoded], scenes: Sequence[Scene] = SCENES) -> np.ndarray:
    return np.array(
        [
            judge(clip.frames, clip.fps, clip.waveform, clip.sample_rate, scene.prompt.prompt_av)
            for clip, scene in zip(clips, scenes, strict=True)
        ]
    )


def changed(change: Callable[[Mover], Mover], *, sounding: bool) -> list[Decoded]:
    """The frames of scenes whose sounding, or silent, shapes were changed, with the sound as it was."""
    scenes = [
        replace(
            scene,
            movers=tuple(
                change(mover) if (mover.shape == scene.cast.sounding) == sounding else mover for mover in scene.movers
            ),
        )
        for scene in SCENES
    ]
    return [replace(clip, frames=new.frames) for clip, new in zip(CLIPS, render_scenes(scenes), strict=True)]


def later(mover: Mover) -> Mover:
    """Contacts a third of an interval later."""
    step = (mover.contacts[1] - mover.contacts[0]) / 3
    return replace(mover, contacts=(mover.contacts[0] - 2 * step, *(time + step for time in mover.contacts)))


def slower(mover: Mover) -> Mover:
    """Half as often: a clip played at half its speed."""
    return replace(mover, contacts=tuple(2 * time for time in mover.contacts))


def still(mover: Mover) -> Mover:
    return replace(mover, reach=0.2)


@pytest.mark.parametrize("judge", JUDGES)
def test_clean_scenes_score_high(judge: Judge):
    clean = judged(judge, CLIPS)
    assert 0.75 < clean.mean() <= 1 and clean.min() > 0.4


DISTURBED = {
    "grain": (picture, Quality(grain=0.15)),
    "flicker": (picture, Quality(flicker=0.3)),
    "blur": (picture, Quality(blur=6.0)),
    "hiss": (sound, Quality(hiss=0.1)),
    "hum": (sound, Quality(hum=0.2)),
}


@pytest.mark.parametrize("name", DISTURBED)
def test_disturbed_scenes_score_lower(name: str):
    judge, quality = DISTURBED[name]
    worse = judged(judge, render_scenes([replace(scene, quality=quality) for scene in SCENES]))
    assert (worse < judged(judge, CLIPS)).mean() > 0.9


@pytest.mark.parametrize("judge", [picture, motion, sound])
def test_other_prompts_score_lower(judge: Judge):
    swapped = SCENES[1:] + SCENES[:1]
    assert judged(judge, CLIPS, swapped).mean() < judged(judge, CLIPS).mean() - 0.1


@pytest.mark.parametrize("change", [slower, still])
def test_slowness_does_not_pay(change: Callable[[Mover], Mover]):
    slow = changed(change, sounding=True)
    assert judged(motion, slow).mean() < judged(motion, CLIPS).mean() - 0.2
    everywhere = changed(change, sounding=False)
    assert judged(motion, everywhere).mean() < judged(motion, CLIPS).mean() - 0.1
    gained = judged(picture, slow) - judged(picture, CLIPS)
    assert gained.mean() < 0.1, "what is won in the picture is less than what is lost in motion"


def test_quick_and_slow_are_told_apart():
    speeds = judged(heldout.speed, CLIPS)
    quick = np.array([scene.cast.speed == "quickly" for scene in SCENES])
    assert (speeds[quick] > 36).mean() > 0.85 and (speeds[~quick] < 36).mean() > 0.85


def test_sync_looks_at_the_sounding_shape_alone():
    before = judged(sync, CLIPS)
    np.testing.assert_allclose(judged(sync, changed(later, sounding=False)), before, atol=0.02)
    assert judged(sync, changed(later, sounding=True)).mean() < before.mean() - 0.4
    assert judged(heldout.silent_sync, CLIPS).mean() < before.mean() - 0.3


def test_shapes_are_found_where_they_are_and_after_the_codec():
    for clips in (CLIPS, CODEC.decode(CODEC.encode(CLIPS))):
        for clip, scene in zip(clips, SCENES, strict=True):
            crowd = look_around(clip.frames, scene.cast)
            places = scene.sounding.positions(frame_times(FRAMES))
            assert np.abs(crowd.sounding.centre - places).mean() < 0.8
            assert set(crowd.shapes) == {mover.shape for mover in scene.movers}


def test_after_the_codec_there_is_room_for_better_and_worse():
    clips = CODEC.decode(CODEC.encode(CLIPS))
    assert judged(sync, clips).mean() > judged(sync, CLIPS).mean() - 0.1
    assert judged(motion, clips).mean() > judged(motion, CLIPS).mean() - 0.1
    assert judged(picture, clips).mean() > 0.45


def test_a_blank_picture_and_silence_score_nothing():
    blank = np.full((FRAMES, SIDE, SIDE, 3), round(BACKGROUND * 255), np.uint8)
    silence = np.zeros((1, SAMPLES), np.float32)
    prompt = SCENES[0].prompt.prompt_av
    assert picture(blank, FPS, silence, SAMPLE_RATE, prompt) < 0.05
    assert motion(blank, FPS, silence, SAMPLE_RATE, prompt) < 0.05
    assert sync(blank, FPS, silence, SAMPLE_RATE, prompt) < 0.3


@pytest.mark.parametrize("prompt", ["", "a red circle", "quick high metal clangs", SCENES[0].prompt.prompt_v])
@pytest.mark.parametrize("judge", (*JUDGES, heldout.speed, heldout.impacts, solo_heldout.level))
def test_noise_and_short_prompts_get_a_number(judge: Judge, prompt: str):
    clip = CODEC.decode(CODEC.geometry.noise([3]))[0]
    value = judge(clip.frames, clip.fps, clip.waveform, clip.sample_rate, prompt)
    assert np.isfinite(value) and (judge not in JUDGES or 0 <= value <= 1)


def test_contacts_are_counted_and_intervals_compared():
    wanted = np.array([len(scene.sounding.impacts) for scene in SCENES]) / 1.2
    assert np.abs(judged(heldout.impacts, CLIPS) - wanted).mean() < 0.25
    prompts = [scene.prompt for scene in SCENES]
    near, far = (
        heldout.impact_distance([heldout.clip_impacts(*pair) for pair in zip(clips, prompts, strict=True)], prompts)
        for clips in (CLIPS, changed(slower, sounding=True))
    )
    assert near < 0.06 < far
