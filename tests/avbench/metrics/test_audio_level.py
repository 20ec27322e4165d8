"""Levels: facts of BS.1770 and EBU Tech 3341, hand-worked numbers, properties, edge cases."""

from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore
from avbench.media import Media, decode_clip
from avbench.metrics import Score, Scorer
from avbench.metrics.audio_level import AS_DECODED, bandwidth, clipped_share, loudness, silence_share, true_peak

RATE = 48000


def score(scorer: Scorer, sound: NDArray[np.floating], rate: int = RATE, layout: str | None = None) -> Score:
    return scorer(Media.from_arrays("k", None, 1.0, sound, rate, layout=layout), Prompt(), EncoderStore())


def sine(hz: float, seconds: float = 2.0, dbfs: float = 0.0, rate: int = RATE, phase: float = 0.0) -> NDArray:
    return 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate + phase)


def noise(seconds: float = 1.0, channels: int = 2, seed: int = 0) -> NDArray:
    return 0.1 * np.random.default_rng(seed).standard_normal((channels, int(seconds * RATE)))


F, S, LFE = 1.0, 1.41, 0.0  # in front or above; beside or behind; low frequencies
LAYOUTS = {
    "mono": (F,),
    "stereo": (F, F),
    "2.1": (F, F, LFE),
    "3.0": (F, F, F),
    "3.0(back)": (F, F, S),
    "4.0": (F, F, F, S),
    "quad": (F, F, S, S),
    "quad(side)": (F, F, S, S),
    "3.1": (F, F, F, LFE),
    "4.1": (F, F, F, LFE, S),
    "5.0": (F, F, F, S, S),
    "5.1(side)": (F, F, F, LFE, S, S),
    "6.0": (F, F, F, S, S, S),
    "6.0(front)": (F, F, F, F, S, S),
    "hexagonal": (F, F, F, S, S, S),
    "6.1": (F, F, F, LFE, S, S, S),
    "7.0": (F, F, F, S, S, S, S),
    "7.1": (F, F, F, LFE, S, S, S, S),
    "7.1(wide)": (F, F, F, LFE, S, S, F, F),
    "octagonal": (F, F, F, S, S, S, S, S),
    "5.1.2": (F, F, F, LFE, S, S, F, F),
}
"""What FFmpeg's ebur128 weighs each channel with: measured with FFmpeg 8, one loud channel at a time."""


def write_wav(path: Path, sound: NDArray, layout: str) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE, layout=layout)
        packed = np.round(sound.T.reshape(1, -1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate = RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


class TestLoudness:
    @pytest.mark.parametrize("level", [-23.0, -33.0])
    def test_stereo_sine_reads_its_peak_level(self, level: float) -> None:
        # EBU Tech 3341, cases 1 and 2: a stereo sine of 1 kHz at -23 dBFS per channel reads -23 LUFS.
        tone = sine(997, 5, level)
        assert score(loudness, np.stack([tone, tone])).value == pytest.approx(level, abs=0.1)

    @pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 96000])
    def test_mono_sine_at_full_scale_at_every_rate(self, rate: int) -> None:
        # BS.1770-4: 0 dBFS, 997 Hz into one front channel reads -3.01 LKFS; the
        # weighting shelf is bent by the bilinear transform where it comes near half the rate.
        assert score(loudness, sine(997, 2, 0, rate), rate).value == pytest.approx(
            -3.01, abs=0.1 if rate > 8000 else 0.2
        )

    def test_gate_ignores_quiet_parts(self) -> None:
        # EBU Tech 3341, case 3 in small: -36 dBFS parts do not pull the -23 dBFS part down.
        tone = np.concatenate([sine(1000, 2, -36), sine(1000, 40, -23), sine(1000, 2, -36)])
        assert score(loudness, np.stack([tone, tone])).value == pytest.approx(-23.0, abs=0.1)

    def test_surround_weights_and_lfe(self) -> None:
        # EBU Tech 3341, case 6: -28 L R, -24 C, -30 Ls Rs reads -23 LUFS; LFE counts nothing.
        left, centre, back = sine(1000, 5, -28), sine(1000, 5, -24), sine(1000, 5, -30)
        sound = np.stack([left, left, centre, sine(60, 5), back, back])
        for layout in ("5.1", "5.1(side)"):
            assert score(loudness, sound, layout=layout).value == pytest.approx(-23.0, abs=0.1)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_every_channel_counts_as_its_speaker_does(self, layout: str) -> None:
        # One channel at -20 dBFS, the others silent: -23 LUFS in front, 1.5 dB more beside and behind, nothing in LFE.
        for index, weight in enumerate(LAYOUTS[layout]):
            sound = np.zeros((len(LAYOUTS[layout]), RATE))
            sound[index] = sine(997, 1, -20)
            result = score(loudness, sound, layout=layout)
            if weight:
                assert result.value == pytest.approx(-23.0 + 10 * math.log10(weight), abs=0.1)
            else:
                assert "-70 LUFS" in result.reason

    def test_many_channels_add_their_power(self) -> None:
        # Eight uncorrelated channels of 7.1: 3 in front, 4 surrounds, no LFE.
        sound = noise(3, channels=8)
        one = score(loudness, sound[:1]).value
        expected = one + 10 * math.log10(3 + 4 * 1.41)
        assert score(loudness, sound, layout="7.1").value == pytest.approx(expected, abs=0.1)

    def test_the_layout_of_the_file_decides(self, tmp_path: Path) -> None:
        # The fourth channel is loud, the others 20 dB lower.
        sound = np.repeat(sine(997, 1, -40)[None], 6, axis=0)
        sound[3] *= 10
        values = {}
        for layout in ("5.1", "6.0", "hexagonal"):
            path = write_wav(tmp_path / f"{layout}.wav", sound, layout)
            media = decode_clip(Clip(layout, path), layout, [AS_DECODED])
            assert media.audio.layout == layout
            values[layout] = loudness(media, Prompt(), EncoderStore()).value
        # Sum of the weighted powers, in units of -40 dBFS: 3 + 2 * 1.41, and 100 * 1.41 for a fourth one behind.
        for layout, power in (("5.1", 5.82), ("6.0", 3 + 2.82 + 141), ("hexagonal", 3 + 2.82 + 141)):
            assert values[layout] == pytest.approx(-43 + 10 * math.log10(power), abs=0.1)

    def test_two_channels_are_stereo_whatever_their_names(self) -> None:
        sound = noise(1)
        stereo = score(loudness, sound).value
        for layout in ("stereo", "2 channels", "downmix", "binaural"):
            assert score(loudness, sound, layout=layout).value == stereo
        assert score(loudness, sound, layout="FC+LFE").value == score(loudness, sound[:1]).value

    @given(st.floats(-20, 6))
    @settings(max_examples=10, deadline=None)
    def test_gain_shifts_it_by_as_many_db(self, gain: float) -> None:
        sound = noise()
        louder = sound * 10 ** (gain / 20)
        assert score(loudness, louder).value - score(loudness, sound).value == pytest.approx(gain, abs=1e-3)

    @pytest.mark.parametrize(
        ("sound", "rate", "layout", "reason"),
        [
            (np.zeros((2, RATE)), RATE, None, "-70 LUFS"),
            (sine(997, 1, -90), RATE, None, "-70 LUFS"),
            (sine(997, 0.39), RATE, None, "gating block"),
            (np.ones(1), RATE, None, "gating block"),
            (noise(channels=3), RATE, None, "3 channels: no channel layout"),
            (noise(channels=6), RATE, "6 channels", "6 channels: no channel layout"),
            (noise(channels=4), RATE, "ambisonic 1", "no weight for AMBI0, AMBI1, AMBI2, AMBI3 of the channel layout"),
            (sine(500, 1, 0, 4000), 4000, None, "4000 Hz"),
        ],
    )
    def test_skipped_with_reason(self, sound: NDArray, rate: int, layout: str | None, reason: str) -> None:
        result = score(loudness, sound, rate, layout)
        assert result.status == "skipped"
        assert reason in result.reason


class TestTruePeak:
    def test_sine_between_the_samples(self) -> None:
        # fs/4 at 45 degrees: every sample is +-0.7071, the wave between them reaches 1.
        tone = sine(RATE / 4, 0.5, phase=math.pi / 4) * np.hanning(RATE // 2) ** 0.1
        result = score(true_peak, tone)
        assert result.value == pytest.approx(0.0, abs=0.1)
        assert result.detail["sample_peak_dbfs"] == pytest.approx(-3.01, abs=0.01)

    def test_loudest_channel_above_full_scale(self) -> None:
        sound = np.stack([sine(997, 1, -20), sine(997, 1, 3)])
        assert score(true_peak, sound).value == pytest.approx(3.0, abs=0.1)

    @pytest.mark.parametrize("rate", [8000, 96000, 192000])
    def test_never_below_the_sample_peak(self, rate: int) -> None:
        result = score(true_peak, noise(0.1), rate)
        assert result.value is not None
        assert result.value >= result.detail["sample_peak_dbfs"]

    def test_one_sample_and_silence(self) -> None:
        assert score(true_peak, np.array([0.5])).value == pytest.approx(-6.02, abs=0.1)
        assert score(true_peak, np.zeros(10)).reason == "digital silence"


class TestSilenceShare:
    def test_half_silent(self) -> None:
        assert score(silence_share, np.concatenate([noise()[0], np.zeros(RATE)])).value == 0.5

    @pytest.mark.parametrize(("dbfs", "expected"), [(-59.9, 0.0), (-60.1, 1.0)])
    def test_level_is_rms(self, dbfs: float, expected: float) -> None:
        square = np.full(RATE, 10 ** (dbfs / 20))
        assert score(silence_share, square).value == expected

    def test_opposite_phases_are_sound(self) -> None:
        tone = sine(300)
        assert score(silence_share, np.stack([tone, -tone])).value == 0.0

    def test_last_short_window_counts_by_its_own_level(self) -> None:
        sound = np.append(np.zeros(2400), np.full(1, 0.5))
        assert score(silence_share, sound).value == 0.5


class TestClippedShare:
    def test_runs_of_three_and_more(self) -> None:
        sound = np.zeros(100)
        sound[10:12] = 1.0  # two are not a run
        sound[20:23] = -1.0
        sound[95:] = 1.2  # above full scale, up to the end
        result = score(clipped_share, sound)
        assert result.value == pytest.approx(0.08)
        assert result.detail == {"runs": 2, "longest_run": 5}

    def test_runs_do_not_join_channels(self) -> None:
        sound = np.zeros((2, 10))
        sound[0, 8:] = sound[1, :1] = 1.0
        assert score(clipped_share, sound).value == 0.0

    @given(st.floats(1.0, 20.0))
    @settings(max_examples=15, deadline=None)
    def test_more_gain_never_clips_less(self, gain: float) -> None:
        tone = sine(100, 0.2, -6)
        values = [score(clipped_share, np.clip(tone * g, -1, 1)).value for g in (gain, gain * 1.5)]
        assert values[0] <= values[1]


class TestBandwidth:
    @pytest.mark.parametrize(("hz", "rate"), [(1000, 48000), (3000, 8000), (15000, 44100)])
    def test_sine_reads_its_frequency(self, hz: float, rate: int) -> None:
        assert score(bandwidth, sine(hz, 1, -3, rate), rate).value == pytest.approx(hz, abs=2 * rate / 4096)

    def test_white_noise_fills_the_band(self) -> None:
        assert score(bandwidth, noise(2)).value == pytest.approx(0.99 * RATE / 2, rel=0.01)

    @given(st.floats(-120, 20))
    @settings(max_examples=10, deadline=None)
    def test_level_does_not_matter(self, gain: float) -> None:
        sound = noise(0.2, seed=3)
        louder = score(bandwidth, sound * 10 ** (gain / 20))
        assert louder.value == pytest.approx(score(bandwidth, sound).value, abs=RATE / 4096)

    @pytest.mark.parametrize("sound", [np.zeros(RATE), np.full(RATE, 0.3), np.ones(1)])
    def test_without_alternation(self, sound: NDArray) -> None:
        assert score(bandwidth, sound).reason == "digital silence"
