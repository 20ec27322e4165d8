"""Reference and hypothesis as words: Whisper's normalisers, and the edits between two texts as jiwer counts them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

Form = Literal["english", "basic", "split", "raw"]
"""English: Whisper's English normaliser. Basic: its normaliser for other languages. Split: basic, each character apart.
Raw: lower case, white space cut off at the ends."""
PACKAGES = ("jiwer", "whisper_normalizer")


@dataclass(frozen=True)
class Edits:
    """What turns a reference into a hypothesis.

    Attributes:
        substitutions, deletions, insertions, hits: number of words, or of characters.
        operations: (kind, first and last + 1 of the reference, the same of the hypothesis), in order; kinds are
            "equal", "substitute", "delete", "insert".
    """

    substitutions: int
    deletions: int
    insertions: int
    hits: int
    operations: tuple[tuple[str, int, int, int, int], ...]

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def length(self) -> int:
        """Length of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors over the length of the reference; the number of errors where that is empty."""
        return self.errors / (self.length or 1)


def normalise(text: str, form: Form) -> str:
    """The normal form of a text, without white space at its ends."""
    if form == "raw":
        return text.lower().strip()
    return str(_normaliser(form)(text)).strip()


def spoken_form(text: str, form: Form) -> str:
    """A text as it is compared: its normal form without words that have no letter and no digit.

    Nobody says them, but Whisper's English form keeps a dot of "Wait..." as a word.
    """
    words = normalise(text, form).split()
    return " ".join(word for word in words if any(sign.isalnum() for sign in word))


def word_edits(reference: str, hypothesis: str) -> Edits:
    """Edits between words that blanks separate."""
    import jiwer

    return _edits(jiwer.process_words(reference, hypothesis))


def character_edits(reference: str, hypothesis: str) -> Edits:
    """Edits between characters; blanks count."""
    import jiwer

    return _edits(jiwer.process_characters(reference, hypothesis))


def _edits(output: Any) -> Edits:
    operations = tuple(
        (step.type, step.ref_start_idx, step.ref_end_idx, step.hyp_start_idx, step.hyp_end_idx)
        for step in output.alignments[0]
    )
    return Edits(output.substitutions, output.deletions, output.insertions, output.hits, operations)


@cache
def _normaliser(form: Form) -> Any:
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    if form == "english":
        return EnglishTextNormalizer()
    return BasicTextNormalizer(split_letters=form == "split")
