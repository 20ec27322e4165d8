"""Pictures show the shape where it is, sounds begin at contacts, and noise follows from the seed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omninft_train.miniature.hearing import look
from omninft_train.miniature.render import (
    BACKGROUND,
    coverage,
    enlarge,
    frame_times,
    render,
    render_audio,
    render_frames,
    render_scenes,
)
from omninft_train.miniature.world import (
    COLOURS,
    DURATION,
    FPS,
    FRAMES,
    PITCHES,
    RADII,
    SAMPLE_RATE,
    SAMPLES,
    SHAPES,
    SIDE,
    Quality,
    Scene,
    draw_scene,
    positions,
    subjects,
)

SEEDS = st.integers(0, 2**40)
SUBJECTS = st.sampled_from(subjects())


def clean(seed: int, subject=None) -> Scene:
    return replace(draw_scene(seed, subject), quality=Quality())


def test_sizes_and_types():
    clip = render(draw_scene(0))
    assert clip.frames.shape == (FRAMES, SIDE, SIDE, 3) and clip.frames.dtype == np.uint8
    assert clip.waveform.shape == (1, SAMPLES) and clip.waveform.dtype == np.float32
    assert (clip.fps, clip.sample_rate) == (FPS, SAMPLE_RATE)
    assert len(clip.frames) / clip.fps == clip.waveform.shape[1] / clip.sample_rate == DURATION
    assert frame_times()[0] == pytest.approx(0.5 / FPS) and frame_times()[-1] == pytest.approx(DURATION - 0.5 / FPS)


@settings(max_examples=20, deadline=None)
@given(st.lists(SEEDS, min_size=1, max_size=4))
def test_a_clip_depends_on_its_scene_alone(seeds):
    scenes = [draw_scene(seed) for seed in seeds]
    for scene, clip in zip(scenes, render_scenes(scenes), strict=True):
        again = render(scene)
        assert np.array_equal(clip.frames, again.frames)
        assert np.array_equal(clip.waveform, again.waveform)


def test_the_seed_of_a_scene_is_that_of_its_noise():
    noisy = replace(draw_scene(1), quality=Quality(grain=0.1, hiss=0.1))
    other = replace(noisy, seed=2)
    assert not np.array_equal(render(noisy).frames, render(other).frames)
    assert not np.array_equal(render(noisy).waveform, render(other).waveform)
    quiet, quiet_other = clean(1), replace(clean(1), seed=2)
    assert np.array_equal(render(quiet).frames, render(quiet_other).frames)
    assert np.array_equal(render(quiet).waveform, render(quiet_other).waveform)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SUBJECTS)
def test_the_shape_is_where_the_scene_says(seed, subject):
    scene = clean(seed, subject)
    sight = look(render_frames([scene])[0])
    np.testing.assert_allclose(sight.centre, positions(scene, frame_times()), atol=0.7)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SUBJECTS)
def test_colours_inside_and_outside(seed, subject):
    scene = clean(seed, subject)
    frames = render_frames([scene])[0] / 255
    places = positions(scene, frame_times())
    rows, columns = np.round(places).astype(int).T
    inside = frames[np.arange(FRAMES), rows, columns]
    np.testing.assert_allclose(inside, np.tile(COLOURS[subject.colour], (FRAMES, 1)), atol=0.005)
    place = np.arange(SIDE)
    far = np.hypot(place[:, None] - places[:, 0, None, None], place - places[:, 1, None, None])
    outside = far > 1.6 * RADII[subject.size] + 2  # beyond the corners of a triangle
    np.testing.assert_allclose(frames[outside], BACKGROUND, atol=0.005)


@given(
    st.sampled_from(SHAPES),
    st.floats(3.0, 7.0),
    st.floats(11.0, 20.0),
    st.floats(11.0, 20.0),
    st.sampled_from([1.5, 2.0, 4.0]),
)
def test_coverage_is_about_a_circle_of_the_radius(shape, radius, row, column, blur):
    cover = coverage(shape, radius, np.array([[row, column]], np.float32), blur)[0]
    assert cover.shape == (SIDE, SIDE) and cover.dtype == np.float32
    assert cover.min() >= 0 and cover.max() <= 1
    # A blurred rim is half inside, so area grows by no more than its curvature and its corners.
    assert cover.sum() == pytest.approx(math.pi * radius**2, rel=0.15, abs=blur**2)


def test_blur_widens_the_rim_and_keeps_the_middle():
    centre = np.array([[16, 16]], np.float32)
    partial = []
    for blur in (1.0, 2.0, 4.0, 8.0):
        cover = coverage("circle", 7.0, centre, blur)[0]
        assert cover[16, 16] == 1
        partial.append(int(((cover > 0) & (cover < 1)).sum()))
    assert partial == sorted(partial) and len(set(partial)) == 4


@settings(max_examples=40, deadline=None)
@given(SEEDS, SUBJECTS)
def test_each_contact_is_heard_when_it_happens(seed, subject):
    scene = clean(seed, subject)
    sound = render_audio([scene])[0]
    start = [math.ceil(impact * SAMPLE_RATE) for impact in scene.impacts]
    assert not sound[: start[0]].any()  # nothing before the first
    assert abs(sound[start[0]]) < 0.03  # and no click
    window = SAMPLE_RATE // 100
    for first in start:
        before = float(np.square(sound[max(first - window, 0) : first], dtype=np.float64).mean())
        after = float(np.square(sound[first : first + window], dtype=np.float64).mean())
        assert after > 4 * before + 1e-4
    for first, following in zip(start, [*start[1:], SAMPLES], strict=True):
        energy = np.square(sound[first + window : following])
        blocks = energy[: len(energy) // 400 * 400].reshape(-1, 400).mean(axis=1)  # several periods each
        assert (np.diff(blocks) <= 0).all()  # dies down until the next


@settings(max_examples=20, deadline=None)
@given(SEEDS, SUBJECTS)
def test_sounds_stay_in_range_and_have_their_pitch(seed, subject):
    assert np.abs(render_audio([draw_scene(seed, subject)])).max() <= 1
    sound = render_audio([clean(seed, subject)])[0]
    power = np.abs(np.fft.rfft(sound)) ** 2
    loudest = np.fft.rfftfreq(SAMPLES, 1 / SAMPLE_RATE)[power.argmax()]
    assert loudest == pytest.approx(PITCHES[subject.pitch], abs=5)


def test_disturbances_have_the_size_that_they_say():
    scene = clean(7)
    plain_frames, plain_sound = render_frames([scene])[0].astype(float) / 255, render_audio([scene])[0]

    def disturbed(**quality: float) -> Scene:
        return replace(scene, quality=Quality(**quality))

    grain = render_frames([disturbed(grain=0.04)])[0] / 255 - plain_frames
    assert grain.std() == pytest.approx(0.04, rel=0.05)
    flicker = render_frames([disturbed(flicker=0.1)])[0][:, 0, 0, 0] / plain_frames[:, 0, 0, 0] / 255 - 1
    assert 0.04 < flicker.std() < 0.2
    hum = render_audio([disturbed(hum=0.06)])[0] - plain_sound
    assert np.abs(hum).max() == pytest.approx(0.06, rel=0.01)
    hiss = render_audio([disturbed(hiss=0.05)])[0] - plain_sound
    assert np.sqrt(np.square(hiss).mean()) == pytest.approx(0.05, rel=0.25)


def test_enlarged_pixels_are_squares():
    clip = render(draw_scene(1))
    large = enlarge(clip, 3)
    assert large.frames.shape == (FRAMES, 3 * SIDE, 3 * SIDE, 3)
    for row, column in ((0, 0), (1, 2), (2, 1)):
        assert np.array_equal(large.frames[:, row::3, column::3], clip.frames)
    assert np.array_equal(large.waveform, clip.waveform)
