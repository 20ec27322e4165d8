"""Words: normal forms and edits as jiwer and Whisper's normaliser give them; rules on transcripts; trained weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import whisper_material

from avbench.clips import Clip, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.silero import SILERO
from avbench.encoders.networks.whisper.encoder import WHISPER
from avbench.encoders.networks.whisper.transcript import Segment, Transcript, Word
from avbench.media import Media
from avbench.metrics.base import Score
from avbench.metrics.corpus_errors import wer_corpus
from avbench.metrics.derived import JudgedClip
from avbench.metrics.word_edits import Form, character_edits, normalise, word_edits
from avbench.metrics.word_errors import cer, speech_language, wer, wer_verse_compat

GOLDENS = Path(__file__).parents[2] / "goldens" / "speech"
WORDS = json.loads((GOLDENS / "wer.json").read_text())
TRAINED = json.loads((GOLDENS / "real_whisper_ct2.json").read_text())
OVI = {
    "ovi_kitchen": "AI declares: humans obsolete now.",
    "ovi_dressing_room": "Humans fight for freedom tonight.",
    "ovi_two_men": "continue to be a smart ass, and Tirani here will kill you like he wants to.",
}
pytest.importorskip("jiwer")
pytest.importorskip("whisper_normalizer")


class TestGoldens:
    @pytest.mark.parametrize("case", WORDS["normalise"], ids=lambda case: case["text"][:20])
    def test_normal_forms(self, case: dict[str, str]) -> None:
        assert normalise(case["text"], "english") == case["english"].strip()
        assert normalise(case["text"], "basic") == case["basic"].strip()
        assert normalise(case["text"], "split") == case["basic_split_letters"].strip()

    @pytest.mark.parametrize("form", ["english", "basic", "split"])
    @pytest.mark.parametrize("pair", WORDS["pairs"], ids=lambda pair: pair["reference"][:20])
    def test_edits(self, pair: dict[str, Any], form: Form) -> None:
        reference, hypothesis = (normalise(pair[side], form) for side in ("reference", "hypothesis"))
        edits, expected = word_edits(reference, hypothesis), pair[form]
        assert (edits.substitutions, edits.deletions, edits.insertions, edits.hits) == tuple(
            expected[name] for name in "SDIH"
        )
        assert edits.rate == expected["wer"]
        if form == "english":
            assert character_edits(reference, hypothesis).rate == expected["cer"]

    @pytest.mark.parametrize("pair", WORDS["pairs"], ids=lambda pair: pair["reference"][:20])
    def test_edits_of_raw_words(self, pair: dict[str, Any]) -> None:
        """The reference takes the texts as they are; lower case can only remove errors."""
        assert word_edits(pair["reference"], pair["hypothesis"]).rate == pair["raw"]["wer"]
        raw = word_edits(normalise(pair["reference"], "raw"), normalise(pair["hypothesis"], "raw"))
        assert raw.rate <= pair["raw"]["wer"]

    def test_operations_turn_the_reference_into_the_hypothesis(self) -> None:
        reference, hypothesis = "a red dog barks loud", "the red dog is loud now"
        words = {"ref": reference.split(), "hyp": hypothesis.split()}
        built: list[str] = []
        for kind, ref_first, ref_last, hyp_first, hyp_last in word_edits(reference, hypothesis).operations:
            built += words["ref"][ref_first:ref_last] if kind == "equal" else words["hyp"][hyp_first:hyp_last]
        assert built == words["hyp"]


def segment(text: str, log_probability: float = -0.2, compression: float = 1.0) -> Segment:
    return Segment(text, 0.0, 1.0, log_probability, compression, 0.1, (Word(text, 0.0, 1.0),))


def heard(
    *segments: Segment,
    speech: bool = True,
    known: bool = True,
    languages: dict[str, float] | None = None,
    audio_start: float = 0.0,
) -> Callable[[Any, Prompt], Score]:
    """Scores a prompt on a clip in which Silero and Whisper found this."""

    class Store(EncoderStore):
        def embed(self, encoder: Any, media: Media, prompt: Prompt | None = None) -> Any:
            if encoder is SILERO:
                return np.full(32, 0.9 if speech else 0.01, np.float32)
            assert encoder is WHISPER
            language = (prompt or Prompt()).speech_language or "en"
            return Transcript(language, known, languages or {}, segments).as_array()

    media = Media.from_arrays("clip", None, 1.0, np.zeros(16000), 16000)
    assert media.audio is not None
    media = replace(media, audio=replace(media.audio, start=audio_start))
    return lambda scorer, prompt: scorer(media, prompt, Store())


ASKED = Prompt("a man nods", speech_text="Humans fight for freedom, tonight.")


class TestRules:
    def test_the_detail_says_what_was_heard(self) -> None:
        score = heard(segment("Human fight for freedom right tonight"))(wer, ASKED)
        assert score.value == pytest.approx(2 / 5)
        detail = score.detail
        assert detail["hypothesis"] == "human fight for freedom right tonight"
        assert [detail[k] for k in ("substitutions", "deletions", "insertions", "hits")] == [1, 0, 1, 4]
        assert detail["speech"] is True and detail["words"][0]["end"] == 1.0

    def test_words_lie_on_the_timeline_of_the_clip(self) -> None:
        """A player seeks the clip, and its sound may begin late."""
        for scorer in (wer, cer):
            (word,) = heard(segment("Humans"), audio_start=0.8)(scorer, ASKED).detail["words"]
            assert word == {"text": "Humans", "start": 0.8, "end": 1.8}

    def test_the_detail_names_the_normal_form(self) -> None:
        chinese = Prompt("a", speech_text="你好", speech_language="zh")
        german = Prompt("a", speech_text="Los", speech_language="de")
        forms = [heard(segment("x"))(cer, prompt).detail["form"] for prompt in (ASKED, german, chinese)]
        assert forms == ["english", "basic", "split"]

    def test_no_speech_where_words_were_asked_for_is_one(self) -> None:
        for scorer in (wer, cer):
            score = heard(segment("I'm going to kill you, baby!"), speech=False)(scorer, ASKED)
            assert (score.value, score.detail["hypothesis"], score.detail["speech"]) == (1.0, "", False)

    @pytest.mark.parametrize("bad", [segment("la " * 40, compression=2.41), segment("Whoa!", log_probability=-1.01)])
    def test_loops_and_guesses_do_not_count(self, bad: Segment) -> None:
        score = heard(segment("Humans fight for"), bad, segment("freedom tonight"))(wer, ASKED)
        assert (score.value, score.detail["rejected"]) == (0.0, 1)
        assert heard(bad)(wer, ASKED).value == 1.0

    def test_a_bound_is_inside(self) -> None:
        edge = segment("Humans fight for freedom tonight", log_probability=-1.0, compression=2.4)
        assert heard(edge)(wer, ASKED).value == 0.0

    @pytest.mark.parametrize("prompt", [Prompt('he says, "Go."'), Prompt("a", speech_text=" ")])
    def test_without_spoken_text(self, prompt: Prompt) -> None:
        for scorer in (wer, cer, wer_verse_compat):
            assert "no spoken text" in heard(segment("Go."))(scorer, prompt).reason

    @pytest.mark.parametrize("text", ["[laughs] Uh, hmm.", "!?", "...", "… …"])
    def test_nothing_left(self, text: str) -> None:
        for scorer in (wer, cer):
            score = heard(segment("Go."))(scorer, Prompt("a", speech_text=text))
            assert score.reason == "nothing is left of the spoken text after normalising"

    def test_dots_are_no_words(self) -> None:
        """Whisper's English form keeps the last dot of "Wait..."."""
        assert normalise("Wait...", "english") == "wait ."
        for asked, said in (("Wait...", "Wait."), ("Wait.", "Wait...")):
            for scorer in (wer, cer):
                assert heard(segment(said))(scorer, Prompt("a", speech_text=asked)).value == 0.0

    def test_languages_without_blanks(self) -> None:
        prompt = Prompt("a", speech_text="你好，世界", speech_language="zh")
        assert "not separated by blanks; see cer" in heard(segment("你好"))(wer, prompt).reason
        assert heard(segment("你好世间"))(cer, prompt).value == pytest.approx(1 / 4)

    def test_another_script_needs_a_language(self) -> None:
        for text in ("Привет, мир", "你好 AI", "Привет, my мир"):
            for scorer in (wer, cer):
                reason = heard(segment("Привет"))(scorer, Prompt("a", speech_text=text)).reason
                assert "no language is given; column prompt_language" in reason
        prompt = Prompt("a", speech_text="Привет, мир", speech_language="ru")
        assert heard(segment("Привет мир."))(wer, prompt).value == 0.0

    def test_a_few_letters_of_another_script_need_none(self) -> None:
        assert heard(segment("the letter Ω"))(wer, Prompt("a", speech_text="The letter Ω.")).value == 0.0

    def test_other_languages_keep_their_accents(self) -> None:
        prompt = Prompt("a", speech_text="Über den Ärger", speech_language="de")
        assert heard(segment("über den Arger"))(wer, prompt).value == pytest.approx(1 / 3)

    def test_a_language_that_the_transcriber_does_not_know(self) -> None:
        prompt = Prompt("a", speech_text="Los", speech_language="de")
        for scorer in (wer, cer, wer_verse_compat, speech_language):
            for speech in (True, False):
                score = heard(known=False, speech=speech)(scorer, prompt)
                assert score.status == "skipped" and "does not know language 'de'" in score.reason

    def test_language(self) -> None:
        prompt, languages = Prompt("a", speech_language="de"), {"de": 0.2, "nl": 0.7}
        score = heard(languages=languages)(speech_language, prompt)
        assert (score.value, score.detail["likeliest"]) == (0.2, "nl")
        assert heard(languages=languages, speech=False)(speech_language, prompt).reason == "no speech found"
        assert "prompt_language" in heard(languages=languages)(speech_language, Prompt("a")).reason
        assert "tells no languages apart" in heard()(speech_language, prompt).reason

    def test_the_digest_covers_words_and_language(self) -> None:
        prompts = [ASKED, Prompt(speech_text="Go."), Prompt(speech_text="Go.", speech_language="de")]
        assert len({wer.params_digest(prompt) for prompt in prompts}) == 3

    def test_the_digest_of_weights_covers_the_transcriber(self) -> None:
        setups = [WeightsConfig("keyed-random", transcriber=name) for name in ("whisper_base", "whisper_large_v3")]
        assert len({wer.weights_digest(setup) for setup in setups}) == 2


def test_raw_texts_keep_their_punctuation() -> None:
    score = heard(segment("humans fight for freedom tonight."))
    assert score(wer_verse_compat, ASKED).value == pytest.approx(1 / 5)
    assert score(wer, ASKED).value == 0.0


def judged(number: int, reference: str, hypothesis: str, speech: bool = True, model: str | None = None) -> JudgedClip:
    edits = word_edits(reference, hypothesis)
    names = ("substitutions", "deletions", "insertions", "hits")
    score = Score.ok(edits.rate, speech=speech, **{name: getattr(edits, name) for name in names})
    prompt = Prompt(f"p{number}", speech_text=reference)
    clip = Clip(f"clip {number}", Path(f"{number}.mp4"), prompt=prompt, model=model)
    return JudgedClip(clip, {"wer": score})


class TestCorpus:
    def test_corpus_and_mean_of_the_reference(self) -> None:
        """Of the pairs with a reference among the shipped ones, all edits over all words."""
        pairs = [pair for pair in WORDS["pairs"] if pair["english"]["H"] + pair["english"]["S"] + pair["english"]["D"]]
        clips = [judged(n, p["reference_english"], p["hypothesis_english"]) for n, p in enumerate(pairs)]
        score = wer_corpus.function(clips)
        errors = sum(p["english"]["S"] + p["english"]["D"] + p["english"]["I"] for p in pairs)
        words = sum(p["english"]["S"] + p["english"]["D"] + p["english"]["H"] for p in pairs)
        assert score.value == pytest.approx(errors / words)
        assert score.detail["mean_of_clips"] == pytest.approx(np.mean([p["english"]["wer"] for p in pairs]))
        assert 0 <= score.detail["low"] <= score.value <= score.detail["high"]
        assert score.detail["prompts"] == len(pairs)

    def test_silent_clips_are_counted(self) -> None:
        clips = [judged(0, "go on", "go on"), judged(1, "stop", "", speech=False)]
        clips.append(JudgedClip(Clip("quiet", Path("q.mp4"), prompt=Prompt("no words"))))
        score = wer_corpus.function(clips)
        assert score.value == pytest.approx(1 / 3)
        assert (score.detail["clips"], score.detail["asked"], score.detail["without_speech"]) == (2, 2, 1)

    def test_several_models_have_no_common_rate(self) -> None:
        first, other = judged(0, "go on", "go on", model="one"), judged(1, "stop", "go", model="two")
        silent = JudgedClip(Clip("quiet", Path("q.mp4"), prompt=Prompt("no words"), model="two"))
        assert "several models" in wer_corpus.function([first, other]).reason
        assert wer_corpus.function([first, silent]).value == 0.0

    def test_it_is_about_sound(self) -> None:
        assert wer_corpus.needs == {"audio"}

    def test_without_scores(self) -> None:
        assert wer_corpus.function([]).reason == "no clip has a wer"


@pytest.mark.speech
class TestTrained:
    @pytest.fixture(scope="class")
    @staticmethod
    def store(tmp_path_factory: pytest.TempPathFactory) -> EncoderStore:
        pytest.importorskip("ctranslate2")
        root = tmp_path_factory.mktemp("weights")
        (root / "whisper_tiny_en").symlink_to(whisper_material.tiny_en())
        setup = WeightsConfig(weights_dir=root, transcriber="whisper_tiny_en")
        for encoder in (SILERO, WHISPER):
            if reason := encoder.backbone.missing(setup):
                pytest.skip(reason)
        return EncoderStore(setup=setup)

    def media(self, name: str) -> Media:
        sound, rate = soundfile.read(GOLDENS / "audio" / f"{name}.flac", dtype="float32")
        return Media.from_arrays(name, None, 1.0, sound, rate)

    @pytest.mark.parametrize("clip", list(OVI))
    def test_talking_clips(self, store: EncoderStore, clip: str) -> None:
        expected = TRAINED["tiny_en"][clip]["beam5"]
        score = wer(self.media(clip), Prompt("a", speech_text=OVI[clip]), store)
        assert score.detail["hypothesis"] == expected["normalised"]
        assert score.value == expected["wer"]
        assert [score.detail[k] for k in ("substitutions", "deletions", "insertions", "hits")] == [
            expected[k] for k in "SDIH"
        ]

    def test_film_noise_is_no_speech(self, store: EncoderStore) -> None:
        score = wer(self.media("tears_of_steel_deck"), Prompt("a", speech_text="Go on."), store)
        assert (score.value, score.detail["speech"], score.detail["hypothesis"]) == (1.0, False, "")

    def test_half_a_minute_of_silence_is_no_speech(self, store: EncoderStore) -> None:
        """Whisper writes words for silence; it is not asked."""
        silence = Media.from_arrays("silence", None, 1.0, np.zeros(30 * 16000, np.float32), 16000)
        score = wer(silence, Prompt("a", speech_text="Go on."), store)
        assert (score.value, score.detail["speech"], score.detail["written"]) == (1.0, False, "")

    def test_sound_of_8_khz_is_understood(self, store: EncoderStore) -> None:
        whole = self.media("ovi_kitchen")
        assert whole.waveform is not None
        telephone = Media.from_arrays("8 kHz", None, 1.0, soxr.resample(whole.waveform[0], 16000, 8000), 8000)
        prompt = Prompt("a", speech_text=OVI["ovi_kitchen"])
        score = wer(telephone, prompt, store)
        assert score.value == wer(whole, prompt, store).value
        assert 0 < score.detail["words"][-1]["end"] <= 5.1

    def test_words_of_two_voices_are_written_one_after_the_other(self, store: EncoderStore) -> None:
        names = ("ovi_kitchen", "ovi_dressing_room")
        sounds = [media.waveform[0] for media in map(self.media, names) if media.waveform is not None]
        both = Media.from_arrays("both", None, 1.0, np.concatenate(sounds), 16000)
        score = wer(both, Prompt("a", speech_text=" ".join(OVI[name] for name in names)), store)
        assert score.detail["hits"] >= 7, score.detail["hypothesis"]

    def test_a_damaged_checkpoint_is_one_line(self, store: EncoderStore, tmp_path: Path) -> None:
        folder = tmp_path / "whisper_tiny_en"
        folder.mkdir()
        for path in whisper_material.tiny_en().iterdir():
            (folder / path.name).write_bytes(path.read_bytes()[:1000])
        other = EncoderStore(setup=WeightsConfig(weights_dir=tmp_path, transcriber="whisper_tiny_en"))
        with pytest.raises(Exception, match="damaged or another version"):
            wer(self.media("ovi_kitchen"), Prompt("a", speech_text="Go."), other)
