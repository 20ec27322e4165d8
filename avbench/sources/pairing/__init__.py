"""Pair clips with the prompts of a list: by name, by number or by position in the list, never by order alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from avbench.clips import Clip
from avbench.errors import UsageError
from avbench.sources.pairing.base import CURE, Pairing, refuse_difference
from avbench.sources.pairing.names import other_names, pair_by_name
from avbench.sources.pairing.numbers import pair_all_by_number, pair_by_number
from avbench.sources.pairing.positions import (
    contradiction,
    counts_from_one,
    names_no_clip,
    numbers_no_clip,
    pair_by_position,
    refuse_positions_beside,
)
from avbench.sources.prompts import PromptList
from avbench.sources.safety import some_of

__all__ = [
    "Pairing",
    "apply_pairing",
    "contradiction",
    "counts_from_one",
    "matching_sentence",
    "pair_all_by_number",
    "pair_by_name",
    "pair_prompts",
]


def pair_prompts(clips: Sequence[Clip], prompts: PromptList) -> Pairing:
    """Find the rule that fits: names, numbers of the list, positions in the list, then a single prompt.

    Raises:
        UsageError: no rule fits, or two disagree.
    """
    cure = f"{CURE} ({clips[0].clip_id}), or correct the column"
    single = Pairing(f"the only prompt of {prompts.path.name} goes to all clips", (0,) * len(clips))
    pairing = pair_by_name(clips, prompts)
    if pairing is not None:
        return pairing
    pairing, no_number = pair_by_number(clips, prompts)
    if pairing is not None:
        refuse_positions_beside(clips, prompts, pairing)
        if len(prompts.rows) == 1:
            refuse_difference(clips, prompts, pairing, single, cure)
        return pairing
    pairing, no_position = pair_by_position(clips, prompts)
    no_single = _unfit_single(clips, prompts)
    if pairing is not None:
        if message := contradiction(clips, prompts, pairing):
            raise UsageError(f"{message} {cure}.")
        if not (no_position := names_no_clip(prompts)):
            return pairing
    elif not no_single:
        if message := other_names(clips, prompts, single):
            raise UsageError(f"{message} {cure}.")
        return single
    keys = f"columns {some_of(prompts.key_columns, 6)} name no clip" if prompts.key_columns else "no key column"
    raise UsageError(
        f"{prompts.path}: cannot tell which of {len(prompts.rows)} prompts belongs to which of {len(clips)} "
        f"clips. By name: {keys}. By a column of numbers: {no_number}. By number at the end of the file name as the "
        f"row: {no_position}. Single prompt: {no_single}. {CURE} ({clips[0].clip_id})."
    )


def _unfit_single(clips: Sequence[Clip], prompts: PromptList) -> str:
    """Why the list is no single prompt for all clips; empty if it is."""
    if len(prompts.rows) > 1:
        return f"there are {len(prompts.rows)}"
    if reason := names_no_clip(prompts) or numbers_no_clip(clips, prompts):
        return f"{reason}; if it is for all clips, remove that column"
    return ""


def apply_pairing(clips: Sequence[Clip], prompts: PromptList, pairing: Pairing) -> tuple[list[Clip], str, list[str]]:
    """Clips with their prompts, the sentence about the matching, and notes about what stayed alone."""
    paired = []
    seen: Counter[tuple[object, ...]] = Counter()
    for clip, number in zip(clips, pairing.numbers, strict=True):
        if number is not None:
            row = prompts.rows[number]
            texts = (row.prompt.text, row.prompt.video_text, row.prompt.audio_text, row.prompt.prompt_id)
            key = (clip.video.parent, clip.model, *texts)
            categories = clip.categories or row.categories
            index = clip.sample_index or seen[key]
            clip = replace(clip, prompt=row.prompt, categories=categories, sample_index=index)
            seen[key] += 1
        paired.append(clip)
    notes = [*prompts.notes]
    if alone := [clip.clip_id for clip, number in zip(clips, pairing.numbers, strict=True) if number is None]:
        notes.append(f"{len(alone)} of {len(clips)} clips have no prompt row: {some_of(alone)}")
    used = set(pairing.numbers)
    if idle := [row.where for number, row in enumerate(prompts.rows) if number not in used]:
        notes.append(f"{len(idle)} of {len(prompts.rows)} prompts have no clip: {some_of(idle)}")
    return paired, matching_sentence(pairing.rule, paired), notes


def matching_sentence(rule: str, clips: Sequence[Clip]) -> str:
    """How prompts were assigned, and to how many clips."""
    count = sum(not clip.prompt.is_empty for clip in clips)
    return f"{rule}; {count} of {len(clips)} clips have a prompt"
