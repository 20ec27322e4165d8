"""av_offset: response to known offsets on drawn and real clips; honest silence where it cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import draw_frames, draw_sound

from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore
from avbench.media import Media, Waveform, decode_clip
from avbench.metrics.av_offset import FLOW, av_offset, av_offset_confidence

STORE = EncoderStore()


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_follows_the_shift_on_drawn_clips(seed):
    frames = draw_frames(seed)
    base = Media.from_arrays("base", frames, 24, draw_sound(seed), 16000)
    flow = base.view(FLOW)
    for shift in (-1.0, -0.6, -0.2, 0.0, 0.2, 0.6, 1.0):
        media = Media.from_arrays(f"{shift}", frames, 24, draw_sound(seed, shift=shift), 16000)
        media.views[FLOW] = flow
        score = av_offset(media, Prompt(), STORE)
        assert score.status == "ok", (shift, score.reason)
        assert score.value == pytest.approx(shift, abs=0.04)


def test_shipped_late_clip_is_named_late_and_the_original_is_not(examples):
    late = Clip("late", examples / "bounce.mp4", examples / "bounce_late.m4a")
    right = Clip("right", examples / "bounce.mp4")
    views = [*av_offset.views]
    assert av_offset(decode_clip(late, "l", views), Prompt(), STORE).value == pytest.approx(0.4, abs=0.05)
    assert av_offset(decode_clip(right, "r", views), Prompt(), STORE).value == pytest.approx(0.0, abs=0.05)


def test_sound_of_another_clip_gets_no_number():
    silent_claims = 0
    for seed in range(8):
        media = Media.from_arrays(f"{seed}", draw_frames(seed, size=(48, 64)), 24, draw_sound(seed + 20), 16000)
        silent_claims += av_offset(media, Prompt(), STORE).status == "skipped"
    assert silent_claims >= 7


def test_silence_and_stills_are_skipped_with_a_reason():
    frames = draw_frames(0, size=(48, 64))
    for pixels, sound in (
        (frames, np.zeros((1, 80000))),
        (np.repeat(frames[:1], 120, axis=0), draw_sound(0)),
    ):
        media = Media.from_arrays("m", pixels, 24, sound, 16000)
        score = av_offset(media, Prompt(), STORE)
        assert score.status == "skipped"
        assert score.reason
        assert av_offset_confidence(media, Prompt(), STORE).status == "skipped"


@pytest.mark.slow
def test_real_clips_shifted_give_the_shift_or_no_number(examples):
    """Shift the sound of real clips by -1 s to +1 s: a number that is given must be right."""
    given, right = 0, 0
    for path in sorted(examples.glob("*.mp4")):
        media = decode_clip(Clip(path.stem, path), path.stem, [FLOW, Waveform()])
        flow, sound, rate = media.view(FLOW), media.view(Waveform()), media.audio.sample_rate
        blank = np.zeros((len(media.video.times), 1, 1, 3), np.uint8)
        for shift in np.arange(-1.0, 1.01, 0.25):
            moved = np.roll(sound, round(shift * rate), axis=1)
            if shift:
                moved[:, : round(shift * rate)] = 0.0 if shift > 0 else moved[:, : round(shift * rate)]
                moved[:, round(shift * rate) :] = 0.0 if shift < 0 else moved[:, round(shift * rate) :]
            shifted = Media.from_arrays(f"{path.stem}{shift}", blank, media.video.fps, moved, rate)
            shifted.views[FLOW] = flow
            score = av_offset(shifted, Prompt(), STORE)
            given += score.status == "ok"
            right += score.status == "ok" and abs(score.value - shift) < 0.1
    assert given >= 9
    assert right / given >= 0.9
