"""Are the words of the prompt spoken? Word and character errors of Whisper's transcript. Extra [speech]."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from typing import Any

from avbench.clips import Prompt
from avbench.encoders import EncoderStore
from avbench.encoders.networks.silero import SILERO
from avbench.encoders.networks.whisper.encoder import WHISPER
from avbench.encoders.networks.whisper.transcriber import BEAMS, UNSPACED
from avbench.encoders.networks.whisper.transcript import Segment, Transcript, Word
from avbench.media import Media
from avbench.metrics.base import Score, no_prompt, scorer
from avbench.metrics.speech import NO_SPEECH, speech_stretches
from avbench.metrics.word_edits import PACKAGES, Edits, Form, character_edits, normalise, spoken_form, word_edits

# Whisper's own bounds on a transcript that is a loop, or a guess.
HIGHEST_COMPRESSION, LOWEST_LOG_PROBABILITY = 2.4, -1.0

Count = Callable[[str, str], Edits]

_METADATA: dict[str, Any] = {
    "family": "speech",
    "unit": "1",
    "higher_is_better": False,
    "range": (0.0, math.inf),
    "needs": ("audio", "prompt"),
    "prompt_role": "speech",
    "encoders": (SILERO, WHISPER),
    "packages": PACKAGES,
}
_RULES = {
    "mode": "fixed",
    "beams": BEAMS,
    "compression": HIGHEST_COMPRESSION,
    "log_probability": LOWEST_LOG_PROBABILITY,
}
_SOURCE = "Whisper (Radford et al., ICML 2023), its text normaliser and bounds; edits as jiwer 4 counts them"
_CAVEAT = (
    "Errors of the recogniser and of its normaliser count as the clip's: names, other spellings and a wrong apostrophe "
    "cost words that were spoken well. Compare numbers of one transcriber only."
)


def accepted(transcript: Transcript) -> list[Segment]:
    """Segments that are neither a loop nor a guess."""
    return [
        segment
        for segment in transcript.segments
        if segment.compression_ratio <= HIGHEST_COMPRESSION and segment.mean_log_probability >= LOWEST_LOG_PROBABILITY
    ]


def _heard(media: Media, prompt: Prompt, store: EncoderStore) -> Transcript | Score | None:
    """The transcript, None where nobody speaks; or the reason why this transcriber can write none."""
    is_spoken = bool(speech_stretches(media, store))
    if not is_spoken and prompt.speech_language in (None, "en"):
        return None  # every transcriber knows English: there is nothing to ask the network
    transcript = Transcript.from_array(store.embed(WHISPER, media, prompt))
    if not transcript.known:
        # Of a silent clip, too: else the mean over a run would be that of its silent clips.
        why = f"{store.setup.transcriber} does not know language {transcript.language!r}; choose another transcriber"
        return Score.skipped(why)
    return transcript if is_spoken else None


def _is_other_script(text: str) -> bool:
    """Whether a text has letters and at most half of them are Latin: "你好 AI" is no English."""
    letters = [sign for sign in text if sign.isalpha()]
    latin = sum("LATIN" in unicodedata.name(sign, "") for sign in letters)
    return bool(letters) and 2 * latin <= len(letters)


def _unreadable(prompt: Prompt) -> str:
    """Why the spoken text cannot be compared at all; "" where it can."""
    if not (prompt.speech_text or "").strip():
        return no_prompt("speech")
    if prompt.speech_language is None and _is_other_script(prompt.speech_text or ""):
        return (
            "the spoken text is not in Latin letters, or not mostly, and no language is given; column prompt_language"
        )
    return ""


def _on_timeline(word: Word, start: float) -> dict[str, Any]:
    """A word with its times on the clip's timeline, on which the sound may begin late."""
    return {"text": word.text, "start": round(start + word.start, 3), "end": round(start + word.end, 3)}


def _compared(media: Media, prompt: Prompt, store: EncoderStore, form: Form, count: Count) -> Score:
    """Errors over the length of the reference; without speech every word is missing."""
    assert media.audio is not None
    reference = spoken_form(prompt.speech_text or "", form)
    if not reference:
        return Score.skipped("nothing is left of the spoken text after normalising")
    transcript = _heard(media, prompt, store)
    if isinstance(transcript, Score):
        return transcript
    segments = accepted(transcript) if transcript else []
    written = " ".join(segment.text for segment in segments)
    hypothesis = spoken_form(written, form)
    edits = count(reference, hypothesis)
    return Score.ok(
        edits.rate,
        form=form,
        reference=reference,
        hypothesis=hypothesis,
        written=written,
        substitutions=edits.substitutions,
        deletions=edits.deletions,
        insertions=edits.insertions,
        hits=edits.hits,
        speech=transcript is not None,
        rejected=len(transcript.segments) - len(segments) if transcript else 0,
        operations=[list(operation) for operation in edits.operations],
        words=[_on_timeline(word, media.audio.start) for segment in segments for word in segment.words],
    )


@scorer("wer", source=_SOURCE, params=_RULES, version=2, caveat=_CAVEAT, **_METADATA)
def wer(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Word error rate of what is spoken against the words that the prompt asks for.

    Formula: (substitutions + deletions + insertions) / words of the reference, both texts in Whisper's normal form;
    above 1 where more is said than asked. A clip without speech has the hypothesis "" and 1. Segments whose text
    compresses by more than 2.4 or whose mean log-probability is below -1 do not count as heard. The detail has the
    texts, the edits and the time of each word on the clip's timeline.
    """
    if reason := _unreadable(prompt):
        return Score.skipped(reason)
    language = prompt.speech_language or "en"
    if language in UNSPACED:
        return Score.skipped(f"words of language {language!r} are not separated by blanks; see cer")
    return _compared(media, prompt, store, "english" if language == "en" else "basic", word_edits)


@scorer("cer", source=_SOURCE, params=_RULES, version=2, caveat=_CAVEAT, **_METADATA)
def cer(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Character error rate of what is spoken against the words that the prompt asks for.

    Formula: as wer, over characters; blanks count, save in languages that are written without.
    """
    if reason := _unreadable(prompt):
        return Score.skipped(reason)
    language = prompt.speech_language or "en"
    if language in UNSPACED:
        return _compared(media, prompt, store, "split", word_edits)
    return _compared(media, prompt, store, "english" if language == "en" else "basic", character_edits)


@scorer(
    "wer_verse_compat",
    version=2,
    source="Verse-Bench (Dorniwang/Verse-Bench 5645a09), its rule for texts",
    params={"mode": "compat", "flags": "verse_raw_text", "beams": BEAMS},
    caveat="Punctuation counts: a lost comma is a wrong word. The benchmark transcribes with SenseVoiceSmall, this "
    "scorer with Whisper: it shows what the rule for texts does, and equals no published number.",
    **_METADATA,
)
def wer_verse_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Word error rate under Verse-Bench's rule for texts: lower case, nothing else.

    Formula: as wer, of the texts in lower case with all punctuation, and of all segments.
    """
    if not (prompt.speech_text or "").strip():
        return Score.skipped(no_prompt("speech"))
    transcript = _heard(media, prompt, store)
    if isinstance(transcript, Score):
        return transcript
    written = " ".join(segment.text for segment in transcript.segments) if transcript else ""
    reference, hypothesis = normalise(prompt.speech_text or "", "raw"), normalise(written, "raw")
    return Score.ok(word_edits(reference, hypothesis).rate, reference=reference, hypothesis=hypothesis)


@scorer(
    "speech_language",
    family="speech",
    unit="1",
    higher_is_better=True,
    range=(0.0, 1.0),
    source="Whisper (Radford et al., ICML 2023), language token",
    needs=("audio", "prompt"),
    prompt_role="language",
    encoders=(SILERO, WHISPER),
    caveat="Of the first 30 s. Related languages and accents share probability.",
)
def speech_language(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Probability that the language spoken is the one that the prompt asks for.

    Formula: Whisper's probability of that language after the start of the transcript. The detail has the likeliest
    language.
    """
    if not prompt.speech_language:
        return Score.skipped(no_prompt("language"))
    transcript = _heard(media, prompt, store)
    if isinstance(transcript, Score):
        return transcript
    if transcript is None:
        return Score.skipped(NO_SPEECH)
    if not transcript.languages:
        return Score.skipped(f"{store.setup.transcriber} tells no languages apart; choose another transcriber")
    likeliest = max(transcript.languages, key=lambda code: transcript.languages[code])
    probability = min(max(transcript.languages.get(prompt.speech_language, 0.0), 0.0), 1.0)
    return Score.ok(probability, likeliest=likeliest, likeliest_probability=transcript.languages[likeliest])
