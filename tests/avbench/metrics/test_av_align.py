"""AV-Align against the reference's numbers, its parts against librosa's, and its properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore
from avbench.media import Media, decode_clip
from avbench.media.options import DecodeOptions
from avbench.metrics.av_align import (
    FLOW,
    WAVEFORM,
    av_align,
    av_align_symmetric,
    flow_peaks,
    intersection_over_union,
    symmetric_agreement,
)
from avbench.metrics.onsets import onset_strength, onset_times
from avbench.metrics.optical_flow import flow_magnitude

STORE = EncoderStore()
times = st.lists(st.floats(0, 10, allow_nan=False), max_size=20).map(lambda x: np.array(sorted(x), dtype=float))


@pytest.mark.parametrize("name", ["clip_a", "clip_b", "clip_c", "clip_d"])
def test_equals_the_reference(name, golden, golden_clips):
    expected = golden("av_align")[name]
    clip = Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav")
    media = decode_clip(clip, name, [WAVEFORM, FLOW])
    rate = media.audio.sample_rate
    strength = onset_strength(media.view(WAVEFORM)[0], rate)
    magnitude = flow_magnitude(media.view(FLOW))
    assert media.video.fps == expected["fps"]
    assert rate == expected["sr"]
    assert len(strength) == expected["onset_env_len"]
    assert strength.sum() == pytest.approx(expected["onset_env_sum"], rel=1e-5)
    np.testing.assert_allclose(onset_times(strength, rate), expected["audio_peaks"], atol=1e-9)
    np.testing.assert_allclose(magnitude, expected["flow"], atol=1e-6)
    np.testing.assert_allclose(flow_peaks(magnitude, media.video.fps), expected["video_peaks"], atol=1e-9)
    assert av_align(media, Prompt(), STORE).value == pytest.approx(expected["score"], abs=1e-9)


def test_two_hits_of_five_events():
    onsets, peaks = np.array([1.0, 2.0, 3.0]), np.array([1.02, 2.03, 4.0, 5.0])
    assert intersection_over_union(onsets, peaks, fps=25) == pytest.approx(2 / (3 + 4 - 2 + 1e-6))
    assert symmetric_agreement(onsets, peaks, 0.12) == pytest.approx((2 + 2) / 7)


def test_onsets_that_share_a_peak_can_pass_one_as_in_the_reference():
    assert intersection_over_union(np.array([0.98, 1.02]), np.array([1.0]), fps=24) == pytest.approx(2.0, rel=1e-5)


def test_tolerance_is_strict_at_one_frame_and_closed_at_three():
    assert intersection_over_union(np.array([1.0]), np.array([1.25]), fps=4) == 0.0
    assert symmetric_agreement(np.array([1.0]), np.array([1.75]), 0.75) == 1.0


@given(times, times, st.sampled_from([24.0, 25.0, 30.0]))
def test_range_and_identity(onsets, peaks, fps):
    # Onsets two frames apart cannot share a peak.
    spread = np.array([time for n, time in enumerate(onsets) if not n or time - onsets[n - 1] >= 2 / fps])
    assert 0.0 <= intersection_over_union(spread, peaks, fps) <= 1.0
    if len(onsets):
        assert symmetric_agreement(onsets, onsets, 3 / fps) == 1.0
        assert symmetric_agreement(onsets, peaks, 3 / fps) == symmetric_agreement(peaks, onsets, 3 / fps)


def test_no_onset_scores_zero_and_two_frames_are_skipped():
    pixels = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)
    silent = Media.from_arrays("silent", pixels, 24, np.zeros(16000, np.float32), 16000)
    assert av_align(silent, Prompt(), STORE).value == 0.0
    short = Media.from_arrays("short", pixels[:2], 24, np.zeros(16000, np.float32), 16000)
    assert av_align(short, Prompt(), STORE).status == "skipped"
    assert av_align_symmetric(short, Prompt(), STORE).status == "skipped"


@pytest.mark.slow
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_onsets_equal_librosa(rate):
    librosa = pytest.importorskip("librosa")
    rng = np.random.default_rng(rate)
    sound = (rng.normal(0, 0.05, 4 * rate) * (1 + 5 * (rng.random(4 * rate) > 0.9995))).astype(np.float32)
    expected = librosa.onset.onset_strength(y=sound, sr=rate)
    strength = onset_strength(sound, rate)
    np.testing.assert_allclose(strength, expected, atol=2e-4)
    np.testing.assert_allclose(onset_times(strength, rate), librosa.onset.onset_detect(y=sound, sr=rate, units="time"))


def test_flow_is_bit_identical_from_run_to_run(small_clip):
    """Last bits decide peaks between nearly equal frames; they must not depend on threads or memory layout."""
    clip = Clip("small", small_clip)
    first = decode_clip(clip, "small", [FLOW], DecodeOptions(threads=1)).view(FLOW)
    for threads in (1, 2, 2, 4, 4):
        np.testing.assert_array_equal(
            decode_clip(clip, "small", [FLOW], DecodeOptions(threads=threads)).view(FLOW), first
        )
