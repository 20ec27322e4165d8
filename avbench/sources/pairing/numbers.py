"""By number: a column of the list numbers its rows, and the names of the clips hold these numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avbench.clips import Clip
from avbench.errors import UsageError
from avbench.sources.columns import GENERATED_VIDEO, PLAIN_VIDEO, normalize_name
from avbench.sources.numbering import Numbering, read_numbers
from avbench.sources.pairing.base import CURE, Pairing, cells, only_row, refuse_difference
from avbench.sources.pairing.slots import Slot, choose_slot, find_slots, repeated_number
from avbench.sources.prompts import PromptList
from avbench.sources.safety import some_of

_PATHS = frozenset((*PLAIN_VIDEO, *GENERATED_VIDEO, "relpath"))


@dataclass(frozen=True)
class _Column:
    name: str
    numbering: Numbering
    rows: dict[int, list[int]]


def pair_by_number(clips: Sequence[Clip], prompts: PromptList) -> tuple[Pairing | None, str]:
    """The column whose numbers are those in the names of the clips, of all or else of some; else None and why.

    Raises:
        UsageError: two columns contradict each other, a number is there twice, or the list may count from another
            start than the clips.
    """
    pairing, reason = pair_all_by_number(clips, prompts)
    if pairing is not None:
        return pairing, ""
    partial = _partial(clips, prompts)
    return _only(clips, prompts, partial), reason


def pair_all_by_number(
    clips: Sequence[Clip], prompts: PromptList, *, paths_name_clips: bool = True
) -> tuple[Pairing | None, str]:
    """The column whose numbers are those in the names of all clips; else None and why.

    Args:
        paths_name_clips: whether paths in the list may be those of the clips. In a benchmark's list they are those of
            the ground truth, whose numbers say nothing about generated clips.

    Raises:
        UsageError: two columns contradict each other, or a number is there twice.
    """
    slots = find_slots(clips)
    pairings, reasons = [], []
    for column in _columns(prompts, paths_name_clips):
        slot, reason = choose_slot(clips, slots, column.rows)
        if slot is None:
            reasons.append(f"{column.name!r}: {reason}")
        else:
            pairings.append(_pairing(clips, prompts, column, slot))
    return _only(clips, prompts, pairings), "; ".join(reasons) or _without_columns(prompts)


def _without_columns(prompts: PromptList) -> str:
    if not prompts.numbered_columns:
        return "there is none"
    return f"there is none (rename {some_of(prompts.numbered_columns)} to `index` if it numbers the rows)"


def _only(clips: Sequence[Clip], prompts: PromptList, pairings: list[Pairing]) -> Pairing | None:
    for other in pairings[1:]:
        cure = f"{CURE}, or remove the column that does not number the clips"
        refuse_difference(clips, prompts, pairings[0], other, cure)
    return pairings[0] if pairings else None


def refuse_other_start(clips: Sequence[Clip], prompts: PromptList, column: str) -> None:
    """Do nothing unless all clips would have a row if the list counted from one less or one more.

    Raises:
        UsageError: they would, so that it is not clear from where each side counts.
    """
    numbers = find_slots(clips).last.numbers
    known = set(read_numbers(cells(prompts, column)).rows())
    for shift in (-1, 1):
        if all(number is not None and number + shift in known for number in numbers):
            lowest = [min(number for number in numbers if number is not None), min(known)]
            raise UsageError(
                f"{prompts.path}: it is not clear from where clips and rows are counted. By one rule the numbers in "
                f"the file names (from {lowest[0]}) are those of column {column!r} (from {lowest[1]}), and not every "
                "clip has a row; by the other they differ by 1, and every clip has one. "
                f"{CURE} ({clips[0].clip_id}), or correct the numbers."
            )


def _columns(prompts: PromptList, paths_name_clips: bool) -> list[_Column]:
    columns = []
    for name in (*prompts.key_columns, *prompts.number_columns):
        if not paths_name_clips and normalize_name(name) in _PATHS:
            continue
        numbering = read_numbers(cells(prompts, name))
        rows = numbering.rows()
        repeats = name in prompts.number_columns and any(len(positions) > 1 for positions in rows.values())
        if numbering.is_complete and numbering.prefix is not None and not repeats:
            columns.append(_Column(name, numbering, rows))
    return columns


def _partial(clips: Sequence[Clip], prompts: PromptList) -> list[Pairing]:
    """The columns of plain numbers that fit most clips where none fits all."""
    slots, columns = find_slots(clips), _columns(prompts, paths_name_clips=True)
    if slots.others or repeated_number(clips, slots.last):
        return []
    plain = [column for column in columns if column.numbering.prefix == ()]
    hits = [sum(number in column.rows for number in slots.last.numbers) for column in plain]
    most = max(hits, default=0)
    best = [column for column, count in zip(plain, hits, strict=True) if 0 < count == most]
    for column in best:
        refuse_other_start(clips, prompts, column.name)
    return [_pairing(clips, prompts, column, slots.last) for column in best]


def _pairing(clips: Sequence[Clip], prompts: PromptList, column: _Column, slot: Slot) -> Pairing:
    rows = tuple(
        only_row(clip, column.name, [] if number is None else column.rows.get(number, []), prompts)
        for clip, number in zip(clips, slot.numbers, strict=True)
    )
    return Pairing(f"{slot.where} in each file name is column {column.name!r} of {prompts.path.name}", rows)
