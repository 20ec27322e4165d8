"""Whisper through CTranslate2: encode 30 s, find the language, write down the words, find their times."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avbench.encoders.networks.whisper.log_mel import HOP, RATE, Samples, log_mel, pieces
from avbench.encoders.networks.whisper.transcript import Segment, Transcript, Word

BEAMS = 5
LONGEST = 224
# Languages that are written without blanks: each character is a word of its own in the times.
UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})
_TICK = 0.02
_DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True)
class Transcriber:
    """A loaded checkpoint: CTranslate2's model and the tokenizer beside it."""

    model: Any
    tokenizer: Any

    def transcribe(self, sound: Samples, language: str | None = None) -> Transcript:
        """What is spoken, without conditions on earlier text and without a second try at a higher temperature.

        Args:
            sound: (N,) at 16 kHz, -1..1.
            language: code; English where it is None.
        """
        language = language or _DEFAULT_LANGUAGE
        multilingual = self.model.is_multilingual
        known = self._id(f"<|{language}|>") is not None if multilingual else language == _DEFAULT_LANGUAGE
        encoded = [(start, end, self._encode(sound[start:end])) for start, end in pieces(sound)]
        languages = self._languages(encoded[0][2]) if multilingual and encoded else {}
        segments = [self._segment(*piece, language) for piece in encoded] if known else []
        return Transcript(language, known, languages, tuple(segments))

    def _encode(self, sound: Samples) -> Any:
        from ctranslate2 import StorageView

        return self.model.encode(StorageView.from_array(log_mel(sound, self.model.n_mels)[None]), to_cpu=False)

    def _languages(self, encoded: Any) -> dict[str, float]:
        (ranked,) = self.model.detect_language(encoded)
        return {token.strip("<|>"): float(probability) for token, probability in ranked}

    def _segment(self, start: int, end: int, encoded: Any, language: str) -> Segment:
        prompt = ["<|startoftranscript|>"]
        if self.model.is_multilingual:
            prompt += [f"<|{language}|>", "<|transcribe|>"]
        (result,) = self.model.generate(
            encoded,
            [[*prompt, "<|notimestamps|>"]],
            beam_size=BEAMS,
            sampling_temperature=0,
            max_length=LONGEST,
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = result.sequences_ids[0]
        text = self.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        # The score is a mean over the tokens; Whisper's own mean counts the end as one more.
        mean = result.scores[0] * len(tokens) / (len(tokens) + 1)
        words = self._words(encoded, prompt, tokens, start, end, language)
        return Segment(
            text, start / RATE, end / RATE, mean, compression_ratio(text), float(result.no_speech_prob), words
        )

    def _words(
        self, encoded: Any, prompt: Sequence[str], tokens: Sequence[int], start: int, end: int, language: str
    ) -> tuple[Word, ...]:
        ids = [token for token in tokens if self.tokenizer.decode([token], skip_special_tokens=True)]
        if not ids:
            return ()
        frames = max((end - start) // HOP, 2)
        (alignment,) = self.model.align(encoded, [self._id(token) for token in prompt], [ids], [frames])
        pairs = np.asarray(alignment.alignments)  # (K, 2): number of the token, tick of 20 ms
        # A token begins at the first tick of its own.
        begins = [float(pairs[pairs[:, 0] >= number, 1].min(initial=pairs[-1, 1])) for number in range(len(ids) + 1)]
        offset, length = start / RATE, (end - start) / RATE
        times = [offset + min(tick * _TICK, length) for tick in begins]
        spans = self._grouped(ids, language in UNSPACED)
        return tuple(
            Word(self.tokenizer.decode(ids[first:last]).strip(), round(times[first], 3), round(times[last], 3))
            for first, last in spans
        )

    def _grouped(self, ids: Sequence[int], unspaced: bool) -> list[tuple[int, int]]:
        """First and last token + 1 of each word: a word begins with a blank, and never inside a character."""
        spans: list[tuple[int, int]] = []
        first = 0
        while first < len(ids):
            last = first + 1
            while last < len(ids) and "\ufffd" in self.tokenizer.decode(ids[first:last]):
                last += 1
            piece = self.tokenizer.decode(ids[first:last])
            begins = piece[:1].isspace() or (unspaced and any(sign.isalnum() for sign in piece))
            if spans and not begins:
                spans[-1] = (spans[-1][0], last)
            else:
                spans.append((first, last))
            first = last
        return spans

    def _id(self, token: str) -> int | None:
        number: int | None = self.tokenizer.token_to_id(token)
        return number


def compression_ratio(text: str) -> float:
    """Bytes of a text over its bytes under zlib."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def load_transcriber(folder: Path, device: str = "cpu", compute_type: str = "float32") -> Transcriber:
    """Load the checkpoint whose files lie in a folder.

    Args:
        folder: holds config.json, model.bin, tokenizer.json and the vocabulary.
        device: torch's name: "cpu", "cuda", "cuda:1".
        compute_type: CTranslate2's: "float32", "int8" ...

    Raises:
        RuntimeError: CTranslate2 cannot read the files.
    """
    from ctranslate2.models import Whisper
    from tokenizers import Tokenizer

    kind, _, number = device.partition(":")
    model = Whisper(str(folder), device=kind, device_index=int(number or 0), compute_type=compute_type)
    return Transcriber(model, Tokenizer.from_file(str(folder / "tokenizer.json")))
