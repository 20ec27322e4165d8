"""Duration and start of the two tracks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.clips import Prompt
from avbench.encoders import EncoderStore
from avbench.media import AudioInfo, Media, VideoInfo
from avbench.metrics.integrity import duration_mismatch, start_offset

STORE = EncoderStore()


def clip(frames: int, fps: float, samples: int, rate: int) -> Media:
    video = VideoInfo(np.arange(frames) / fps, fps, 16, 16)
    return Media("k", video, AudioInfo(rate, 2, samples))


@pytest.mark.parametrize(
    ("frames", "samples", "expected"),
    [(48, 96000, 0.0), (48, 108000, 0.25), (48, 48000, -1.0), (1, 1, 1 / 48000 - 1 / 24)],
)
def test_positive_where_the_sound_is_longer(frames: int, samples: int, expected: float) -> None:
    result = duration_mismatch(clip(frames, 24.0, samples, 48000), Prompt(), STORE)
    assert result.value == pytest.approx(expected)


@given(st.integers(1, 500), st.integers(1, 10**6), st.sampled_from([8000, 44100, 48000]))
def test_detail_adds_up(frames: int, samples: int, rate: int) -> None:
    result = duration_mismatch(clip(frames, 25.0, samples, rate), Prompt(), STORE)
    assert result.value == pytest.approx(result.detail["audio_s"] - result.detail["video_s"])


def test_start_offset_is_positive_where_the_sound_is_late() -> None:
    media = clip(10, 25.0, 1000, 48000)
    assert media.video is not None
    assert media.audio is not None
    late = Media("k", replace(media.video, times=media.video.times + 0.1), replace(media.audio, start=0.3))
    assert start_offset(late, Prompt(), STORE).value == pytest.approx(0.2)


def test_track_without_frames() -> None:
    media = clip(0, 25.0, 1000, 48000)
    for scorer in (duration_mismatch, start_offset):
        assert "no frame" in scorer(media, Prompt(), STORE).reason
