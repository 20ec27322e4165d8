"""Clips survive the codec to stated bounds, its own clips do so all but exactly, and no latents make it fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from omninft_train.miniature.codec import SOLO, decode_audio, encode_audio
from omninft_train.miniature.render import BACKGROUND, render_audio, render_frames, render_scenes
from omninft_train.miniature.world import FRAMES, SAMPLES, SIDE, Quality, draw_scene
from omninft_train.models.backbone import Decoded
from omninft_train.models.latents import Latents

GEOMETRY = SOLO.geometry
encode, decode, encode_frames, decode_frames = SOLO.encode, SOLO.decode, SOLO.encode_frames, SOLO.decode_frames
SCENES = [draw_scene(seed) for seed in range(64)]
CLEAN = [replace(scene, quality=Quality()) for scene in SCENES]


def noise(scale: float, count: int = 4) -> Latents:
    return GEOMETRY.noise(range(count)).map(lambda stream: scale * stream)


def rms(difference: np.ndarray) -> np.ndarray:
    """Of each clip."""
    return np.sqrt(np.square(difference, dtype=np.float64).reshape(len(difference), -1).mean(axis=1))


def test_latents_have_the_geometry():
    latents = encode(render_scenes(SCENES[:3]))
    assert latents.video.shape == (3, GEOMETRY.video_tokens, GEOMETRY.video_channels)
    assert latents.audio.shape == (3, GEOMETRY.audio_frames, GEOMETRY.audio_channels)
    assert latents.video.dtype == latents.audio.dtype == torch.float32
    clips = decode(latents)
    assert [clip.frames.shape for clip in clips] == [(FRAMES, SIDE, SIDE, 3)] * 3
    assert [clip.waveform.shape for clip in clips] == [(1, SAMPLES)] * 3


def test_clean_pictures_come_back():
    frames = render_frames(CLEAN)
    error = rms(decode_frames(encode_frames(frames)) / 255.0 - frames / 255.0)
    assert error.mean() < 0.045 and error.max() < 0.07
    assert error.mean() < 0.35 * rms(frames / 255.0 - BACKGROUND).mean()


def test_clean_sounds_come_back():
    sound = render_audio(CLEAN)
    error = rms(decode_audio(encode_audio(sound)) - sound)
    assert (error < 0.2 * rms(sound)).all()


def test_an_empty_room_is_zero_and_silence_is_zero():
    room = np.full((1, FRAMES, SIDE, SIDE, 3), round(BACKGROUND * 255), np.uint8)
    assert encode_frames(room).abs().max() < 0.1  # 8 bits do not hold 0.15 exactly
    assert not encode_audio(np.zeros((1, SAMPLES), np.float32)).any()
    assert not decode_audio(torch.zeros(1, GEOMETRY.audio_frames, GEOMETRY.audio_channels)).any()


def test_latents_of_scenes_have_about_unit_variance():
    latents = encode(render_scenes(SCENES))
    for stream in (latents.video, latents.audio):
        assert 0.6 < stream.std() < 1.6
        assert stream.mean().abs() < 0.2


def test_latents_that_fit_into_pixels_come_back():
    # Small enough to clip nothing; what is left is the rounding of pixels to 8 bits, at most half a step each.
    latents = noise(0.02)
    assert np.abs(decode_frames(latents.video) / 255.0 - BACKGROUND).max() < BACKGROUND
    again = encode_frames(decode_frames(latents.video))
    assert (again - latents.video).abs().max() < 0.05
    audio = noise(0.3).audio
    assert np.abs(decode_audio(audio)).max() < 1
    torch.testing.assert_close(encode_audio(decode_audio(audio)), audio, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_decoding_again_changes_next_to_nothing(scale: float):
    first = decode(noise(scale))
    second = decode(encode(first))
    third = decode(encode(second))
    for a, b, c in zip(first, second, third, strict=True):
        before, after = (np.abs(x.frames.astype(int) - y.frames.astype(int)).mean() for x, y in ((a, b), (b, c)))
        assert after < 0.5 + 0.5 * before  # levels of 255; clipped pixels settle
        assert rms((b.waveform - c.waveform)[None])[0] <= rms((a.waveform - b.waveform)[None])[0] + 1e-6


def test_decoded_scenes_come_back():
    first = decode(encode(render_scenes(SCENES)))
    for a, b in zip(first, decode(encode(first)), strict=True):
        assert np.abs(a.frames.astype(int) - b.frames.astype(int)).mean() < 0.5
        np.testing.assert_allclose(a.waveform, b.waveform, atol=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30, -1e30])
def test_latents_that_are_no_numbers_are_drawn_and_do_not_fail(value: float):
    latents = encode(render_scenes(SCENES[:2]))
    latents.video[0, 3, 5] = value
    latents.audio[0, 3, 5] = value
    broken, whole = decode(latents)
    assert broken.frames.dtype == np.uint8
    assert np.isfinite(broken.waveform).all() and np.abs(broken.waveform).max() <= 1
    assert np.array_equal(whole.frames, decode(latents[[1]])[0].frames)
    everything = decode(latents.map(lambda stream: torch.full_like(stream, value)))
    assert all(np.isfinite(clip.waveform).all() for clip in everything)


def test_a_token_that_is_no_number_is_black_and_silent():
    latents = encode(render_scenes(SCENES[:1]))
    latents.video[:, 0] = torch.nan
    latents.audio[:, 4] = torch.nan
    clip = decode(latents)[0]
    assert not clip.frames[0, : SIDE // 2, : SIDE // 2].any()
    assert clip.frames[0, SIDE // 2 :].all()
    length = SAMPLES // GEOMETRY.audio_frames
    assert not clip.waveform[0, 4 * length : 5 * length - length // 2].any()


def test_latents_of_training_are_taken_as_they_are():
    latents = noise(1.0)
    plain = decode(latents)
    for other in (latents.map(lambda s: s.clone().requires_grad_()), latents.map(lambda s: s.double())):
        for a, b in zip(plain, decode(other), strict=True):
            assert np.array_equal(a.frames, b.frames)
            np.testing.assert_allclose(a.waveform, b.waveform, atol=1e-6)
    for a, b in zip(plain, decode(latents.map(lambda s: s.bfloat16())), strict=True):
        assert np.abs(a.frames.astype(int) - b.frames.astype(int)).mean() < 2


def test_clips_do_not_reach_into_each_other():
    clips = render_scenes(SCENES[:3])
    together = encode(clips)
    for index, clip in enumerate(clips):
        alone = encode([clip])
        torch.testing.assert_close(together[[index]].video, alone.video, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together[[index]].audio, alone.audio, atol=1e-5, rtol=1e-4)


def test_tokens_hold_their_own_place():
    frames = np.full((1, FRAMES, SIDE, SIDE, 3), 40, np.uint8)
    changed = frames.copy()
    changed[0, 5, 20:24, 3:9] = 200  # frame 5, lower row, left column
    moved = (encode_frames(changed) - encode_frames(frames)).abs().amax(dim=2)[0]
    assert moved.nonzero().flatten().tolist() == [5 * GEOMETRY.height * GEOMETRY.width + GEOMETRY.width]


def test_sound_of_several_channels_is_mixed():
    clip = render_scenes(SCENES[:1])[0]
    left = np.concatenate([clip.waveform, np.zeros_like(clip.waveform)])
    stereo = Decoded(clip.frames, clip.fps, left, clip.sample_rate)
    half = replace(clip, waveform=0.5 * clip.waveform)
    torch.testing.assert_close(encode([stereo]).audio, encode([half]).audio)
