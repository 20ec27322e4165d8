"""By position: the number in the name of each clip is a row of the list, counted from 0."""

from __future__ import annotations

from collections.abc import Sequence

from avbench.clips import Clip
from avbench.sources.columns import CLIP_ID, FILE_NAMES, normalize_name
from avbench.sources.numbering import Numbering, is_number, is_plain, read_numbers
from avbench.sources.pairing.base import CURE, Pairing, Rows, cells, difference, group, refuse_difference
from avbench.sources.pairing.names import other_names
from avbench.sources.pairing.slots import Slots, choose_slot, find_slots
from avbench.sources.prompts import PromptList
from avbench.sources.spelling import words


def pair_by_position(clips: Sequence[Clip], prompts: PromptList) -> tuple[Pairing | None, str]:
    """The number at the end of every file name is a row, counted from 0; else None and why it is not."""
    slots = find_slots(clips)
    if reason := _unfit_name(clips, prompts, slots):
        return None, reason
    count = len(prompts.rows)
    slot, reason = choose_slot(clips, slots, range(count))
    if slot is not slots.last:
        return None, reason or f"{slot.where if slot else 'another number'} is the row, not the last one"
    # Where a list names its clips and no name fits, numbers behind different names are no row numbers.
    prefixes = {(group(clip), name.before) for clip, name in zip(clips, slots.names, strict=True)}
    if prompts.key_columns and len(prefixes) > len(set(map(group, clips))):
        return None, "the clips have different names before their numbers, and the list names its own clips"
    if counts_from_one(slots.last.numbers):
        return None, f"the clips count from 1, and rows 0 to {count - 1} fit as well as lines 1 to {count}"
    rule = f"the number at the end of each file name is the row of {prompts.path.name}, counted from 0"
    return Pairing(rule, slots.last.numbers), ""


def names_no_clip(prompts: PromptList) -> str:
    """Which column of file names names no clip, in a list none of whose columns does; empty without such a column."""
    for column in prompts.key_columns:
        values = cells(prompts, column)
        numbering = read_numbers(values)
        is_row = numbering.numbers == tuple(range(len(values)))
        if normalize_name(column) in FILE_NAMES and not (is_row or is_plain(numbering)):
            name = next((cell for cell in values if cell is not None and not is_number(cell)), None)
            if name is not None:
                return f"column {column!r} names no clip of the folder (first: {name[:60]!r})"
    return ""


def numbers_no_clip(clips: Sequence[Clip], prompts: PromptList) -> str:
    """Which column of ids holds a number that no clip has, in a folder of numbered clips; empty without one."""
    numbers = find_slots(clips).last.numbers
    if None in numbers:
        return ""
    for column in prompts.key_columns:
        known = read_numbers(cells(prompts, column))
        if normalize_name(column) in CLIP_ID and is_plain(known) and not set(known.numbers) & set(numbers):
            return f"column {column!r} is {known.numbers[0]}, which is the number of no clip"
    return ""


def counts_from_one(numbers: Rows) -> bool:
    """Whether the lowest number is 1, so that the numbers may count from 1."""
    return min((number for number in numbers if number is not None), default=0) == 1


def contradiction(clips: Sequence[Clip], prompts: PromptList, pairing: Pairing) -> str | None:
    """Which column numbers rows or names clips otherwise than by their position, and the first such clip, or None."""
    return _other_numbers(clips, prompts, pairing) or other_names(clips, prompts, pairing)


def _other_numbers(clips: Sequence[Clip], prompts: PromptList, pairing: Pairing) -> str | None:
    clip_words = {words(name.before) or (".",) for name in find_slots(clips).names}
    for column in (*prompts.key_columns, *prompts.number_columns, *prompts.numbered_columns):
        numbering = read_numbers(cells(prompts, column))
        if numbering.prefix is None and not numbering.counts:
            continue
        if column in prompts.numbered_columns and not _numbers_rows(numbering, pairing.numbers):
            continue
        rule = f"the number in each file name is column {column!r} of {prompts.path.name}"
        # Numbers behind the same words, or behind none, are those of the clips: a clip without one has no row.
        of_clips = numbering.is_complete and (numbering.prefix == () or {numbering.prefix} == clip_words)
        by_column = Pairing(rule, _by_number(numbering, pairing.numbers, strict=of_clips))
        if message := difference(clips, prompts, by_column, pairing):
            return message
    return None


def _numbers_rows(numbering: Numbering, clips: Rows) -> bool:
    """Whether a column of an unknown name may number the rows: it counts from a low number, or holds all clips'."""
    known = set(numbering.numbers) - {None}
    # What counts from a higher number than there are rows may be seeds or durations.
    counts = numbering.counts and min(number for number in known if number is not None) < len(numbering.numbers)
    return counts or (len(clips) > 1 and known.issuperset(clips))


def _by_number(numbering: Numbering, positions: Rows, *, strict: bool) -> Rows:
    """The row of each clip by the numbers of a column; where these do not say, none if `strict`, else by position."""
    rows = numbering.rows()
    result = []
    for position in positions:
        numbered = rows.get(position, []) if position is not None else []
        alone = strict and position is not None and numbering.numbers[position] is not None
        other = numbered[0] if numbered else None if alone else position
        result.append(position if position in numbered else other)
    return tuple(result)


def _unfit_name(clips: Sequence[Clip], prompts: PromptList, slots: Slots) -> str:
    count = len(prompts.rows)
    for clip, name in zip(clips, slots.names, strict=True):
        number = name.value(-1)
        if number is None or name.behind:
            return f"{clip.clip_id} does not end in a number"
        if number >= count:
            return f"{clip.clip_id} asks for row {number}, and there are rows 0 to {count - 1}"
    return ""


def refuse_positions_beside(clips: Sequence[Clip], prompts: PromptList, pairing: Pairing) -> None:
    """Do nothing unless the numbers of a column leave clips alone to which their position gives a row.

    Raises:
        UsageError: they do; names both rules and the first clip.
    """
    other, _ = pair_by_position(clips, prompts)
    if other is not None and not pairing.is_complete:
        refuse_difference(clips, prompts, pairing, other, f"{CURE} ({clips[0].clip_id}), or correct the numbers")
