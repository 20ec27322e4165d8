"""Damage does what it says, at the severity it says, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import draw_frames, draw_sound

from avbench.media import FrameSeries, Media, Waveform
from avbench.validity.corruptions import (
    CORRUPTIONS,
    USUAL,
    Inapplicable,
    Variant,
    add_audio_noise,
    add_video_noise,
    blur,
    clip_audio,
    corrupt,
    drop_frames,
    exchange_audio,
    fit_length,
    low_pass,
    seed_of,
    shift_audio,
    shrink_frames,
)

RATE = 16_000
BY_NAME = {corruption.name: corruption for corruption in CORRUPTIONS}
MEAN = FrameSeries("mean", lambda previous, frame: (float(frame.rgb.mean()),))


def tone(hertz: float, seconds: float = 1.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE))[None].astype(np.float32)


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


@pytest.fixture
def media() -> Media:
    return Media.from_arrays("a", draw_frames(seconds=4, size=(48, 64)), 24, draw_sound(seconds=4), RATE)


def test_shift_moves_every_sample_and_keeps_the_length():
    sound = draw_sound(seconds=4)
    later = shift_audio(sound, RATE, 0.5)
    assert later.shape == sound.shape
    np.testing.assert_array_equal(later[:, 8000:], sound[:, :-8000])
    np.testing.assert_array_equal(later[:, :8000], sound[:, -8000:])


def test_a_shift_that_would_come_around_is_refused():
    with pytest.raises(Inapplicable, match="too short to be shifted by 2 s"):
        shift_audio(draw_sound(seconds=3), RATE, 2.0)
    shift_audio(draw_sound(seconds=3.95), RATE, 2.0)


def test_a_smaller_picture_lies_in_the_middle_of_black():
    frames = np.full((2, 40, 60, 3), 200, np.uint8)
    small = shrink_frames(frames, 0.5)
    assert small.shape == frames.shape
    assert (small[:, 10:30, 15:45] == 200).all()
    assert small.sum() == 200 * small[:, 10:30, 15:45].size, "all else is black"


def test_what_is_done_on_request_is_not_done_by_itself():
    assert [c.name for c in CORRUPTIONS if c not in USUAL] == ["small_picture"]


def test_low_pass_keeps_what_is_below_and_removes_what_is_above():
    assert rms(low_pass(tone(500), RATE, 2000)) == pytest.approx(rms(tone(500)), rel=1e-3)
    assert rms(low_pass(tone(2000), RATE, 2000)) == pytest.approx(rms(tone(2000)) / 2, rel=0.01)
    assert rms(low_pass(tone(4000), RATE, 2000)) < 1e-3 * rms(tone(4000))


def test_low_pass_delays_nothing():
    sound = draw_sound(seconds=2)
    lag = np.correlate(low_pass(sound, RATE, 2000)[0], sound[0], "full").argmax() - (sound.shape[1] - 1)
    assert lag == 0


def test_noise_has_the_asked_power_and_the_same_shape_at_all_doses():
    sound = tone(300, 4.0)
    weak, strong = (add_audio_noise(sound, snr, (1,)) - sound for snr in (30.0, 10.0))
    assert 20 * np.log10(rms(sound) / rms(weak)) == pytest.approx(30, abs=0.1)
    np.testing.assert_allclose(strong, 10 * weak, atol=1e-5)
    with pytest.raises(Inapplicable, match="silent"):
        add_audio_noise(np.zeros((1, 100), np.float32), 10.0, (1,))


def test_clipping_amplifies_and_cuts():
    sound = clip_audio(tone(300), 12)
    assert sound.max() == 1
    assert sound.min() == -1
    np.testing.assert_allclose(clip_audio(tone(300, level=0.1), 6.0206), tone(300, level=0.2), atol=1e-5)


def test_picture_noise_has_the_asked_strength_on_every_channel():
    grey = np.full((3, 64, 64, 3), 128, np.uint8)
    noisy = add_video_noise(grey, 10.0, (5,))
    assert noisy.dtype == np.uint8
    np.testing.assert_allclose((noisy.astype(float) - 128).std(axis=(0, 1, 2)), 10, rtol=0.05)
    assert not np.array_equal(noisy[0], noisy[1])
    np.testing.assert_array_equal(noisy, add_video_noise(grey, 10.0, (5,)))
    assert not np.array_equal(noisy, add_video_noise(grey, 10.0, (6,)))


def test_blur_smooths_more_at_larger_sigma():
    frames = draw_frames(seconds=0.2, size=(48, 64))
    detail = [np.abs(np.diff(blur(frames, sigma).astype(int), axis=2)).mean() for sigma in (1.0, 2.0, 4.0)]
    assert detail == sorted(detail, reverse=True)
    assert blur(frames, 4.0).shape == frames.shape


def test_dropped_frames_show_their_predecessor_and_grow_with_the_dose():
    frames = np.arange(41, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    dropped = []
    for share in (0.1, 0.25, 0.5, 0.75):
        shown = drop_frames(frames, share, (3,))[:, 0, 0, 0].astype(int)
        gone = {index for index in range(41) if shown[index] != index}
        assert len(gone) == round(share * 40)
        assert 0 not in gone
        assert all(shown[index] == shown[index - 1] for index in gone)
        dropped.append(gone)
    assert dropped[0] < dropped[1] < dropped[2] < dropped[3]
    np.testing.assert_array_equal(drop_frames(frames[:1], 0.5, (3,)), frames[:1])


def test_the_sound_of_another_clip_takes_the_own_length_and_start(media):
    other = Media.from_arrays("b", None, 24, np.tile(tone(700, 1.0), (2, 1)), RATE * 2)
    changed = exchange_audio(media, Variant(1.0, other=other))
    assert changed.audio is not None
    assert (changed.audio.sample_rate, changed.audio.channels, changed.audio.duration) == (RATE * 2, 2, 4.0)
    assert changed.waveform.shape == (2, 4 * RATE * 2)
    np.testing.assert_array_equal(changed.waveform[:, : 2 * RATE][:, :RATE], other.waveform)
    with pytest.raises(Inapplicable, match="no other clip"):
        exchange_audio(media, Variant(1.0))


def test_fit_length_cuts_and_repeats():
    sound = np.arange(4, dtype=np.float32)[None]
    assert fit_length(sound, 3).tolist() == [[0, 1, 2]]
    assert fit_length(sound, 9).tolist() == [[0, 1, 2, 3, 0, 1, 2, 3, 0]]


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda c: c.name)
def test_the_other_track_and_the_input_stay_untouched(corruption, media):
    other = Media.from_arrays("b", draw_frames(1, seconds=1, size=(48, 64)), 24, draw_sound(5, seconds=4), RATE)
    frames, sound = media.frames.copy(), media.waveform.copy()
    computed = media.view(MEAN), media.view(Waveform())
    changed = corrupt(corruption, media, Variant(corruption.severities[-1], (0,), other), "key")
    np.testing.assert_array_equal(media.frames, frames)
    np.testing.assert_array_equal(media.waveform, sound)
    same_picture, same_sound = corruption.touches != "video", corruption.touches != "audio"
    assert np.array_equal(changed.frames, frames) == same_picture
    assert np.array_equal(changed.waveform, sound) == same_sound
    # What was computed on the track that stays is kept; the rest is computed anew.
    assert (changed.view(MEAN) is computed[0]) == same_picture
    assert (changed.view(Waveform()) is computed[1]) == same_sound
    assert changed.key == ("a" if corruption.touches == "prompt" else "key")


def test_a_clip_without_the_track_stays_as_it_is():
    silent = Media.from_arrays("a", draw_frames(seconds=0.2), 24)
    assert corrupt(BY_NAME["low_pass"], silent, Variant(1.0), "key") is silent


def test_one_frame_and_one_sample_survive_every_dose():
    tiny = Media.from_arrays("a", np.full((1, 2, 2, 3), 9, np.uint8), 24, np.full((1, 1), 0.5, np.float32), RATE)
    for corruption in CORRUPTIONS:
        for severity in corruption.severities:
            try:
                changed = corrupt(corruption, tiny, Variant(severity, (0,), tiny), "key")
            except Inapplicable:
                assert corruption.name == "sound_shift"
                continue
            assert changed.frames.shape == (1, 2, 2, 3)
            assert changed.waveform.shape == (1, 1)


def test_metrics_of_one_track_are_not_asked_what_lies_between_tracks():
    exchange, shift = BY_NAME["sound_of_another_clip"], BY_NAME["sound_shift"]
    assert exchange.concerns({"audio", "video"})
    assert exchange.concerns({"audio", "prompt"})
    assert not exchange.concerns({"audio"})
    assert shift.concerns({"audio"})
    assert not shift.concerns({"video"})


def test_seeds_differ_by_clip_and_corruption():
    assert seed_of(0, "a", "blur") == seed_of(0, "a", "blur")
    assert len({seed_of(0, "a", "x"), seed_of(0, "b", "x"), seed_of(0, "a", "y"), seed_of(1, "a", "x")}) == 4
