"""Whisper: its input in the default run; with trained weights the texts of CTranslate2's reference run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import whisper_material

from avbench.encoders.networks.whisper.log_mel import RATE, log_mel, pieces
from avbench.encoders.networks.whisper.transcriber import Transcriber, compression_ratio, load_transcriber
from avbench.encoders.networks.whisper.transcript import Segment, Transcript, Word

GOLDENS = Path(__file__).parents[3] / "goldens" / "speech"
EXPECTED = json.loads((GOLDENS / "real_whisper_ct2.json").read_text())
SPEAKING = ("ovi_kitchen", "ovi_dressing_room", "ovi_two_men")


def sound(name: str) -> np.ndarray:
    samples, rate = soundfile.read(GOLDENS / "audio" / f"{name}.flac", dtype="int16")
    assert rate == RATE
    return (samples / 32768).astype(np.float32)


class TestWithoutPackages:
    def test_log_mel_of_the_reference(self) -> None:
        expected = json.loads((GOLDENS / "log_mel.json").read_text())["features"]
        bands, frames = expected["shape"]
        mel = log_mel(sound("ovi_kitchen"), bands)
        assert mel.shape == (bands, 3000)
        head = np.array(expected["head"])
        assert mel[: len(head), : head.shape[1]] == pytest.approx(head, abs=1e-4)
        assert mel[:, :frames].mean() == pytest.approx(expected["mean"], abs=1e-4)

    @pytest.mark.parametrize("mels", [80, 128])
    def test_silence(self, mels: int) -> None:
        assert np.unique(log_mel(np.zeros(0, np.float32), mels)).tolist() == [-1.5]

    @pytest.mark.parametrize(("seconds", "count"), [(0, 0), (0.01, 1), (30, 1), (31, 2), (95, 4)])
    def test_pieces_cover_the_sound(self, seconds: float, count: int) -> None:
        noise = np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)
        found = pieces(noise)
        assert len(found) == count
        assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]
        assert all(0 < end - start <= 30 * RATE for start, end in found)
        assert not found or (found[0][0], found[-1][1]) == (0, len(noise))

    def test_a_cut_lies_in_the_pause(self) -> None:
        noise = np.random.default_rng(0).standard_normal(40 * RATE).astype(np.float32)
        noise[27 * RATE : 28 * RATE] = 0
        assert 27 * RATE < pieces(noise)[0][1] < 28 * RATE

    def test_a_loop_compresses(self) -> None:
        assert compression_ratio("look, " * 60) > 2.4 > compression_ratio("Humans fight for freedom tonight.")

    def test_a_transcript_survives_as_an_array(self) -> None:
        segment = Segment("Ärger.", 0.0, 2.5, -0.5, 0.8, 0.1, (Word("Ärger.", 0.2, 0.9),))
        for transcript in (Transcript("de", True, {"de": 0.9}, (segment,)), Transcript("xx", False, {}, ())):
            assert Transcript.from_array(transcript.as_array()) == transcript


@pytest.fixture(scope="module", params=["tiny_en", "base"])
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def transcriber(size: str, tmp_path_factory: pytest.TempPathFactory) -> Transcriber:
    pytest.importorskip("ctranslate2")
    tiny = size == "tiny_en"
    folder = whisper_material.tiny_en() if tiny else whisper_material.base(tmp_path_factory.mktemp(size))
    return load_transcriber(folder)


@pytest.mark.speech
class TestTrained:
    @pytest.mark.parametrize("clip", SPEAKING)
    def test_text_and_probabilities(self, transcriber: Transcriber, size: str, clip: str) -> None:
        expected = EXPECTED[size][clip]["beam5"]
        transcript = transcriber.transcribe(sound(clip))
        (segment,) = transcript.segments
        assert segment.text == expected["text"]
        tokens = len(expected["tokens"])
        assert segment.mean_log_probability * (tokens + 1) / tokens == pytest.approx(expected["score"], abs=1e-3)
        assert segment.no_speech == pytest.approx(expected["no_speech_prob"], abs=1e-3)
        for token, probability in EXPECTED[size][clip].get("language", []):
            assert transcript.languages[token.strip("<|>")] == pytest.approx(probability, abs=1e-3)

    def test_words_have_rising_times_inside_the_sound(self, transcriber: Transcriber) -> None:
        clip = sound("ovi_two_men")
        (segment,) = transcriber.transcribe(clip).segments
        assert " ".join(word.text for word in segment.words) == segment.text
        times = [time for word in segment.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert 0 <= times[0] < 1.5 and 3 < times[-1] <= len(clip) / RATE

    def test_noise_is_no_accepted_segment(self, transcriber: Transcriber) -> None:
        (segment,) = transcriber.transcribe(sound("tears_of_steel_deck")).segments
        assert segment.mean_log_probability < -1

    def test_equal_from_run_to_run(self, transcriber: Transcriber) -> None:
        clip = sound("ovi_kitchen")
        assert transcriber.transcribe(clip) == transcriber.transcribe(clip)

    def test_silence_without_samples(self, transcriber: Transcriber) -> None:
        assert transcriber.transcribe(np.zeros(0, np.float32)).segments == ()

    def test_a_language_it_does_not_know(self, transcriber: Transcriber, size: str) -> None:
        transcript = transcriber.transcribe(sound("ovi_kitchen"), "de" if size == "tiny_en" else "xx")
        assert not transcript.known and not transcript.segments
