"""A pairing of clips with the rows of a prompt list, and what all rules share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avbench.clips import Clip
from avbench.errors import UsageError
from avbench.sources.prompts import PromptList
from avbench.sources.spelling import bare, words
from avbench.sources.suffixes import without_suffix

Rows = tuple[int | None, ...]
"""For each clip the position of its row in the list, from 0; None: no prompt."""

CURE = "Add a column `video` with the file name of each clip"


@dataclass(frozen=True)
class Pairing:
    """The row of each clip, and the sentence about the rule that gave it."""

    rule: str
    numbers: Rows

    @property
    def is_complete(self) -> bool:
        """Whether every clip has a row."""
        return None not in self.numbers


def cells(prompts: PromptList, column: str) -> list[str | None]:
    """What a column of names or numbers says in each row; None where it says nothing."""
    return [row.keys.get(column) for row in prompts.rows]


def last_words(path: str) -> tuple[str, ...]:
    """The words of the last part of a path without its suffix, to compare names in any spelling."""
    return words(without_suffix(bare(path).rsplit("/", 1)[-1]))


def group(clip: Clip) -> tuple[object, ...]:
    """Clips that share this lie together, so that their names tell them apart."""
    return clip.video.parent, clip.model


def same_prompt(prompts: PromptList, one: int | None, other: int | None) -> bool:
    """Whether two rows give a clip the same texts and categories."""
    if one is None or other is None:
        return one == other
    first, second = prompts.rows[one], prompts.rows[other]
    texts = [(row.prompt.text, row.prompt.video_text, row.prompt.audio_text) for row in (first, second)]
    return texts[0] == texts[1] and first.categories == second.categories


def difference(clips: Sequence[Clip], prompts: PromptList, one: Pairing, other: Pairing) -> str | None:
    """Both rules and the first clip to which they give different prompts; None if there is none."""
    pairs = enumerate(zip(one.numbers, other.numbers, strict=True))
    position = next((i for i, (a, b) in pairs if not same_prompt(prompts, a, b)), None)
    if position is None:
        return None
    rows = [_describe(prompts, pairing.numbers[position]) for pairing in (one, other)]
    return (
        f"{prompts.path}: two rules disagree on {clips[position].clip_id}. By one, {one.rule}: {rows[0]}. By the "
        f"other, {other.rule}: {rows[1]}."
    )


def refuse_difference(clips: Sequence[Clip], prompts: PromptList, one: Pairing, other: Pairing, cure: str) -> None:
    """Do nothing if two rules give every clip the same prompt.

    Raises:
        UsageError: they do not; names both rules and the first clip.
    """
    if message := difference(clips, prompts, one, other):
        raise UsageError(f"{message} {cure}.")


def only_row(clip: Clip, column: str, rows: Sequence[int], prompts: PromptList) -> int | None:
    """The row of a clip among those that name it; None without any.

    Raises:
        UsageError: they give different prompts.
    """
    for other in rows[1:]:
        if not same_prompt(prompts, rows[0], other):
            raise UsageError(
                f"{prompts.path}, {prompts.rows[other].where}: column {column!r} names {clip.clip_id} again, with "
                f"another prompt than {prompts.rows[rows[0]].where}. Keep one of the rows, or list the clips in a "
                "manifest."
            )
    return rows[0] if rows else None


def _describe(prompts: PromptList, position: int | None) -> str:
    if position is None:
        return "no prompt"
    row = prompts.rows[position]
    text = row.prompt.text or row.prompt.video_text or row.prompt.audio_text or ""
    return f"{row.where} ({text[:40]!r})"
