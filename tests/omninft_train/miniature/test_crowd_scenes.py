"""The world of three shapes: scenes follow from seeds, prompts say all of a cast, and the audio stream is told it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omninft_train.errors import UsageError
from omninft_train.miniature.backbone import MiniatureBackbone, Size
from omninft_train.miniature.crowd.prompts import (
    Cast,
    casts,
    describe,
    embed,
    evaluation_prompts,
    told,
    training_prompts,
    understand,
)
from omninft_train.miniature.crowd.scenes import (
    CODEC,
    DURATION,
    FRAMES,
    RADIUS,
    SAMPLES,
    SIDE,
    draw_scene,
    render_scenes,
)
from omninft_train.miniature.render import frame_times
from omninft_train.miniature.world import PITCHES, SHAPES, SPEEDS, Quality

SCENES = [draw_scene(seed) for seed in range(48)]
CLEAN = render_scenes([replace(scene, quality=Quality()) for scene in SCENES])


@given(st.integers(0, 2**63))
def test_a_scene_follows_from_its_seed_alone(seed: int):
    scene = draw_scene(seed)
    np.random.default_rng(0).random()
    assert scene == draw_scene(seed) and scene != draw_scene(seed + 1)
    low, high = SPEEDS[str(scene.cast.speed)]
    intervals = np.diff(scene.sounding.contacts)
    assert (low <= intervals).all() and (intervals <= high).all()
    assert scene.sounding.contacts[0] <= 0 and scene.sounding.contacts[-1] >= DURATION
    assert len(scene.sounding.impacts) >= 1


def test_equal_scenes_are_equal_clips():
    redrawn = render_scenes([draw_scene(seed) for seed in range(4)])
    for clip, again in zip(render_scenes(SCENES[:4]), redrawn, strict=True):
        assert np.array_equal(clip.frames, again.frames) and np.array_equal(clip.waveform, again.waveform)
        assert clip.frames.shape == (FRAMES, SIDE, SIDE, 3) and clip.waveform.shape == (1, SAMPLES)


def test_a_cast_can_be_asked_for_and_everything_is_drawn():
    wanted = casts()[17]
    assert draw_scene(5, wanted).cast == wanted
    drawn = Counter(draw_scene(seed).cast.sounding for seed in range(300))
    assert set(drawn) == set(SHAPES) and min(drawn.values()) > 60
    assert len({mover.column for scene in SCENES for mover in scene.movers}) == 3 * len(SCENES)


def test_shapes_stay_in_the_frame_and_apart():
    for scene in SCENES:
        paths = np.stack([mover.positions(frame_times(FRAMES)) for mover in scene.movers])  # (3, T, 2)
        assert paths[..., 0].min() >= RADIUS and paths.max() <= SIDE - RADIUS
        columns = np.sort(paths[:, 0, 1])
        assert np.diff(columns).min() > 2 * RADIUS


def test_every_prompt_is_understood_as_its_cast():
    for cast in casts():
        prompt = describe(cast)
        assert understand(prompt.prompt_av) == cast
        assert understand(prompt.prompt_v) == replace(cast, pitch=None)
        heard = understand(prompt.prompt_a)
        assert heard == Cast({}, cast.sounding, cast.speed, cast.pitch)
        assert prompt.prompt_av == f"{prompt.prompt_v}, {prompt.prompt_a}"


def test_prompts_are_kept_aside_without_leaving_out_a_kind():
    aside, trained = ({prompt.prompt_av for prompt in prompts()} for prompts in (evaluation_prompts, training_prompts))
    assert len(aside) == 8 and not aside & trained and len(aside | trained) == len(casts())
    kept = [understand(text) for text in aside]
    assert {cast.sounding for cast in kept} == set(SHAPES) and {cast.speed for cast in kept} == set(SPEEDS)
    assert {cast.pitch for cast in kept} == set(PITCHES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a red circle and a blue circle", "a circle is red and blue"),
        ("quick slow knocks", "names both"),
        ("a red circle bounces slowly beside a blue square bounces slowly", "names both"),
    ],
)
def test_two_of_a_kind_are_an_error(text: str, said: str):
    with pytest.raises(UsageError, match=said):
        understand(text)


def test_the_shape_that_sounds_is_the_one_of_a_warm_colour():
    for cast in casts():
        assert cast.colour in ("red", "yellow")
        assert {cast.colours[shape] for shape in cast.silent} == {"green", "blue"}
    assert len(set(map(str, casts()))) == len(casts()) == 3 * 2 * 2 * 2


def test_the_audio_stream_is_told_everything_and_the_video_stream_nothing():
    prompt = describe(Cast({"circle": "green", "square": "yellow", "triangle": "blue"}, "square", "quickly", "high"))
    assert prompt.prompt_av == (
        "a yellow square bounces quickly beside a green circle and a blue triangle, quick high metal clangs"
    )
    assert told(prompt.prompt_av) == "green circle yellow square blue triangle quick metal"
    both = embed([prompt.prompt_av, ""])
    assert both.video.shape == both.audio.shape == (2, 8, 64)
    assert both.audio[0].any(dim=1).all() and not both.audio[1].any() and not both.video.any()
    assert len({told(describe(cast).prompt_av) for cast in casts()}) == len(casts())


def test_an_unknown_word_is_named():
    with pytest.raises(UsageError, match="no word 'purple'"):
        embed(["a purple circle"])


def test_clips_survive_the_codec():
    latents = CODEC.encode(CLEAN)
    assert latents.video.shape == (len(CLEAN), 12 * 3 * 3, 4**2 + 2 * 2**2)
    assert latents.audio.shape == (len(CLEAN), 24, 80)
    frames = np.stack([clip.frames for clip in CLEAN]) / 255.0
    error = CODEC.decode_frames(latents.video) / 255.0 - frames
    assert np.sqrt(np.square(error).mean()) < 0.07
    again = CODEC.encode_frames(CODEC.decode_frames(latents.video))
    assert (again - latents.video).square().mean() < 0.05 * latents.video.square().mean()


def test_latents_have_about_the_scale_of_noise():
    latents = CODEC.encode(render_scenes(SCENES))
    assert 0.5 < latents.video.square().mean().sqrt() < 1.2
    assert 0.4 < latents.audio.square().mean().sqrt() < 1.2


def test_a_patch_is_one_token():
    frames = np.full((1, FRAMES, SIDE, SIDE, 3), 38, np.uint8)
    changed = frames.copy()
    changed[0, 3, 8:16, 16:24] = 200
    moved = (CODEC.encode_frames(changed) - CODEC.encode_frames(frames)).abs().amax(dim=2)[0]
    assert moved.nonzero().flatten().tolist() == [3 * 9 + 1 * 3 + 2]


def test_the_network_takes_the_worlds_latents_and_another_digest():
    size = Size(blocks=1, heads=2, video_width=16, audio_width=16)
    crowd, solo = (MiniatureBackbone.untrained(size, world=world) for world in ("crowd", "miniature"))
    assert crowd.kind == "crowd" and crowd.geometry == CODEC.geometry and crowd.digest != solo.digest
    assert crowd.condition([scene.prompt.prompt_av for scene in SCENES[:2]]).audio.shape == (2, 8, 64)
    assert not crowd.negative().video.any()
