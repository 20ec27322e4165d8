"""Quality of speech and constancy of voices: the rules of the metrics, and the numbers of trained weights."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import soxr
from voice_material import GOLDENS, RATE, as_media, clip, resemblyzer_weights, sound

from avbench.clips import Prompt
from avbench.encoders import EncoderStore, LoadContext, WeightsConfig
from avbench.encoders.networks.distillmos.encoder import DISTILLMOS
from avbench.encoders.networks.dnsmos import DNSMOS
from avbench.encoders.networks.nisqa.encoders import NISQA, NISQA_16K, NISQA_TTS, images_of
from avbench.encoders.networks.resemblyzer.encoder import VOICE
from avbench.encoders.networks.resemblyzer.trimming import without_pauses
from avbench.encoders.networks.silero import SILERO
from avbench.media import Media
from avbench.metrics.base import Score
from avbench.metrics.speaker_consistency import speaker_consistency
from avbench.metrics.speech import dnsmos_overall
from avbench.metrics.speech_quality import (
    distillmos,
    dnsmos_overall_compat,
    dnsmos_p808,
    nisqa,
    nisqa_16k_compat,
    nisqa_compat,
    nisqa_tts,
)

EXPECTED = json.loads((GOLDENS / "real_voices.json").read_text())
CLIPS = tuple(EXPECTED["distillmos"])
SPEAKING = ("ovi_kitchen", "ovi_dressing_room", "ovi_two_men")
OF_SPEECH = (distillmos, dnsmos_p808, nisqa, nisqa_tts)


class Canned:
    """Answers with given arrays, as a store does: probabilities of speech for Silero, numbers for a network."""

    def __init__(self, spoken: list[tuple[float, float]], numbers: object = ()) -> None:
        self.spoken, self.numbers = spoken, numbers

    def embed(self, encoder, media, prompt=None):  # type: ignore[no-untyped-def]
        if encoder is not SILERO:
            return np.array(self.numbers, dtype=np.float32)
        windows = np.arange(round(media.audio.duration * RATE / 512)) * 512 / RATE
        return np.array([any(start <= t < end for start, end in self.spoken) for t in windows], dtype=np.float32)


def noise(seconds: float) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)


def scored(metric, seconds: float, spoken, numbers) -> Score:  # type: ignore[no-untyped-def]
    return metric(as_media(f"noise {seconds}", noise(seconds)), Prompt(), Canned(spoken, numbers))


class TestRules:
    @pytest.mark.parametrize("metric", [*OF_SPEECH, speaker_consistency])
    def test_without_speech_there_is_a_reason(self, metric) -> None:  # type: ignore[no-untyped-def]
        assert scored(metric, 2, [], [1.0] * 5).reason == "no speech found"

    def test_means_and_details(self) -> None:
        assert scored(distillmos, 9, [(1, 3)], [3.0, 4.0]) == Score.ok(3.5, stretches=2)
        assert scored(dnsmos_p808, 3, [(1, 2)], [1, 2, 3, 3.5]).value == 3.5
        assert scored(nisqa_tts, 3, [(1, 2)], [-0.25]).value == -0.25
        result = scored(nisqa, 3, [(1, 2)], [5.5, 1, 2, 3, 4])
        assert result.value == 5.5
        assert dict(result.detail) == {"noisiness": 1, "discontinuity": 2, "coloration": 3, "loudness": 4}

    @pytest.mark.parametrize(("metric", "longest"), [(nisqa, 52.0), (nisqa_compat, 52.0), (nisqa_tts, 60.1)])
    def test_nisqa_judges_up_to_what_the_reference_takes(self, metric, longest: float) -> None:  # type: ignore[no-untyped-def]
        reason = f"{longest + 1:.1f} s of sound; NISQA judges up to {longest:.1f} s"
        assert scored(metric, longest + 1, [(1, 20)], [1.0] * 5).reason == reason
        assert scored(metric, longest - 0.1, [(1, 20)], [1.0] * 5).status == "ok"

    def test_too_little_sound_is_a_reason(self) -> None:
        assert "NISQA needs 0.14 s" in scored(nisqa_compat, 0.1, [], []).reason
        for metric in (nisqa, nisqa_tts):
            assert scored(metric, 2, [(0, 1)], []).reason == "too little sound; NISQA needs 0.14 s"

    def test_a_voice_needs_six_seconds(self) -> None:
        equal = np.eye(3)[[0, 1, 1]]
        assert scored(speaker_consistency, 8, [(0, 5)], equal).reason == "5.1 s of speech, 6 needed"
        assert scored(speaker_consistency, 8, [(0, 3), (4, 7.5)], equal).value == 1
        other = np.eye(3)
        assert scored(speaker_consistency, 8, [(0, 7)], other).value == 0
        assert "no voice is left" in scored(speaker_consistency, 8, [(0, 7)], np.zeros((0, 256))).reason


def test_benchmarks_judge_clips_without_speech_as_well() -> None:
    """Both sides of flags nisqa_without_speech and dnsmos_without_speech."""
    for metric in (nisqa_compat, nisqa_16k_compat, dnsmos_overall_compat):
        assert scored(metric, 2, [], [1, 2, 3, 4, 5][: 4 if metric is dnsmos_overall_compat else 5]).value == 1
    for metric in (nisqa, dnsmos_overall):
        assert scored(metric, 2, [], [1, 2, 3, 4, 5]).status == "skipped"


def test_the_rate_of_the_sound_is_a_flag() -> None:
    """Both sides of flag nisqa_16k."""
    assert nisqa_16k_compat.encoders == (NISQA_16K,) and nisqa_compat.encoders == (NISQA,)
    assert [encoder.views[0].rate for encoder in (NISQA_16K, NISQA)] == [16000, 48000]  # type: ignore[attr-defined]


@pytest.mark.speech
class TestTrained:
    @pytest.fixture(scope="class")
    def store(self, tmp_path_factory: pytest.TempPathFactory) -> EncoderStore:
        setup = WeightsConfig(weights_dir=resemblyzer_weights(tmp_path_factory.mktemp("weights")))
        for encoder in (SILERO, DNSMOS, DISTILLMOS, VOICE):
            if reason := encoder.backbone.missing(setup):
                pytest.skip(reason)
        return EncoderStore(max_resident=4, setup=setup)

    @pytest.mark.parametrize("name", CLIPS)
    def test_distillmos(self, store: EncoderStore, name: str) -> None:
        assert store.embed(DISTILLMOS, clip(name)).mean() == pytest.approx(EXPECTED["distillmos"][name], abs=1e-3)

    def test_distillmos_follows_length_and_noise_but_not_level(self, store: EncoderStore) -> None:
        expected, kitchen = EXPECTED["distillmos_variants"], sound("ovi_kitchen")
        changed = {
            "zeros_2s": np.zeros(2 * RATE, np.float32),
            "kitchen_gain_0.1": kitchen * np.float32(0.1),
            "kitchen_first_2s": kitchen[: 2 * RATE],
            "kitchen_x3": np.tile(kitchen, 3),
            "kitchen_noise_0.02_seed0": kitchen
            + 0.02 * np.random.default_rng(0).standard_normal(len(kitchen)).astype(np.float32),
        }
        for name, samples in changed.items():
            value = store.embed(DISTILLMOS, as_media(name, samples.astype(np.float32))).mean()
            assert value == pytest.approx(expected[name], abs=1e-3), name

    @pytest.mark.parametrize("name", SPEAKING)
    def test_speech_is_scored(self, store: EncoderStore, name: str) -> None:
        media = clip(name)
        assert distillmos(media, Prompt(), store).value == pytest.approx(EXPECTED["distillmos"][name], abs=1e-3)
        expected = EXPECTED["dnsmos"][name]
        assert dnsmos_p808(media, Prompt(), store).value == pytest.approx(expected["p808_mos"], abs=1e-3)
        overall = dnsmos_overall(media, Prompt(), store)
        assert overall.value == pytest.approx(expected["ovrl_mos"], abs=1e-3)
        for key in ("sig", "bak"):
            assert overall.detail[key] == pytest.approx(expected[f"{key}_mos"], abs=1e-3)

    def test_sound_of_8_khz_has_a_lower_score(self, store: EncoderStore) -> None:
        narrow = Media.from_arrays("8 kHz", None, 1.0, soxr.resample(sound("ovi_kitchen"), RATE, 8000), 8000)
        for metric in (distillmos, dnsmos_p808):
            score, whole = (metric(media, Prompt(), store) for media in (narrow, clip("ovi_kitchen")))
            assert 1 <= score.value < whole.value

    def test_half_a_minute_of_silence_is_not_scored(self, store: EncoderStore) -> None:
        silence = as_media("silence", np.zeros(30 * RATE, np.float32))
        for metric in (distillmos, dnsmos_p808, dnsmos_overall, speaker_consistency):
            assert metric(silence, Prompt(), store).reason == "no speech found"

    def test_film_noise_is_not(self, store: EncoderStore) -> None:
        for metric in (distillmos, dnsmos_p808, speaker_consistency):
            assert metric(clip("tears_of_steel_deck"), Prompt(), store).reason == "no speech found"

    @pytest.mark.parametrize("name", CLIPS)
    def test_voices(self, store: EncoderStore, name: str) -> None:
        expected = EXPECTED["resemblyzer"][name]
        assert len(without_pauses(sound(name))) == expected["samples_after_vad"]
        embeddings = store.embed(VOICE, clip(name))
        assert embeddings[0][:16] == pytest.approx(np.array(expected["embedding_head"]), abs=1e-4)
        assert embeddings[1] @ embeddings[2] == pytest.approx(expected["halves_cosine"], abs=1e-4)

    def test_voices_of_different_clips(self, store: EncoderStore) -> None:
        for first, row in EXPECTED["resemblyzer_similarity"].items():
            for second, expected in row.items():
                cosine = store.embed(VOICE, clip(first))[0] @ store.embed(VOICE, clip(second))[0]
                assert cosine == pytest.approx(expected, abs=1e-4), (first, second)

    def test_a_narrator_keeps_his_voice_and_five_seconds_do_not_tell(self, store: EncoderStore) -> None:
        narrator = speaker_consistency(clip("nasa_telescope"), Prompt(), store)
        expected = EXPECTED["resemblyzer"]["nasa_telescope"]["halves_cosine"]
        assert narrator.value == pytest.approx(expected, abs=1e-4)
        assert str(speaker_consistency(clip("ovi_two_men"), Prompt(), store).reason).endswith("s of speech, 6 needed")

    def test_equal_from_run_to_run(self, store: EncoderStore) -> None:
        first = {encoder: store.embed(encoder, clip("ovi_kitchen")) for encoder in (SILERO, DNSMOS, DISTILLMOS, VOICE)}
        again = EncoderStore(max_resident=4, setup=store.setup)
        for encoder, value in first.items():
            assert np.array_equal(again.embed(encoder, clip("ovi_kitchen")), value)


@pytest.mark.speech
class TestTrainedNisqa:
    """No package carries these weights: they have to be pulled, and their licence accepted, before."""

    @pytest.fixture(scope="class")
    def store(self) -> EncoderStore:
        for encoder in (NISQA, NISQA_TTS):
            if reason := encoder.backbone.missing(WeightsConfig()):
                pytest.skip(reason)
        return EncoderStore(max_resident=2)

    @pytest.mark.parametrize("name", CLIPS)
    def test_scores_of_the_reference(self, store: EncoderStore, name: str) -> None:
        expected = EXPECTED["nisqa"]["nisqa"]["16k"][name]
        order = ("mos_pred", "noi_pred", "dis_pred", "col_pred", "loud_pred")
        values = store.embed(NISQA_16K, clip(name))
        assert values == pytest.approx(np.array([expected[key] for key in order]), abs=5e-3)

    @pytest.mark.parametrize("name", CLIPS)
    def test_naturalness_of_the_reference(self, store: EncoderStore, name: str) -> None:
        """At the rate of the sound of the goldens: at 48 kHz, which the metric takes, FFmpeg resampled for them."""
        torch = pytest.importorskip("torch")
        network = NISQA_TTS.backbone.load(LoadContext(store.setup, "cpu"))
        (value,) = network(torch.from_numpy(images_of(sound(name), RATE, 8000, 1))).tolist()
        assert value == pytest.approx(EXPECTED["nisqa"]["nisqa_tts"]["16k"][name]["mos_pred"], abs=5e-3)


def test_goldens_are_of_this_sound() -> None:
    for name, facts in EXPECTED["inputs"].items():
        samples = np.round(sound(name) * 32768).astype("<i2")
        assert len(samples) == facts["samples"]
        assert hashlib.sha256(samples.tobytes()).hexdigest() == facts["sha256_int16"]
