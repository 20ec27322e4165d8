"""Choose which of the numbers in the names of clips is the prompt's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from avbench.clips import Clip
from avbench.sources.numbering import NumberedName, is_version, numbered_name, stem_of
from avbench.sources.pairing.base import group

_PLAIN_FOLDER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class Slot:
    """One position of a number in the names of all clips, for example "the last number"."""

    where: str
    numbers: tuple[int | None, ...]


@dataclass(frozen=True)
class Slots:
    """The last number of every name, other numbers that may be the prompt's, and the names."""

    last: Slot
    others: tuple[Slot, ...]
    names: tuple[NumberedName, ...]

    @property
    def are_samples(self) -> bool:
        """Whether the last numbers are labelled as samples."""
        return any(name.is_sample for name in self.names)


def find_slots(clips: Sequence[Clip]) -> Slots:
    """The numbers in the names of the clips, by position. Versions of models, dates and sizes are left out."""
    names = tuple(numbered_name(stem_of(clip)) for clip in clips)
    last = Slot("the last number", tuple(name.value(-1) for name in names))
    others: list[Slot] = []
    for where, position in (("the number before it", -2), ("the first number", 0)):
        slot = Slot(where, tuple(name.value(position) for name in names))
        if slot.numbers in (last.numbers, *(other.numbers for other in others)):
            continue
        if not _is_version(clips, names, position):
            others.append(slot)
    folders = [clip.video.parent.name for clip in clips]
    if all(map(_PLAIN_FOLDER.fullmatch, folders)) and len(set(folders)) > 1:
        others.append(Slot("the number of the folder", tuple(map(int, folders))))
    return Slots(last, tuple(others), names)


def _is_version(clips: Sequence[Clip], names: Sequence[NumberedName], position: int) -> bool:
    """Whether the number at a position says nothing about the prompt, in every folder."""
    members: dict[object, list[NumberedName]] = {}
    for clip, name in zip(clips, names, strict=True):
        if len(name.numbers) > 1:
            members.setdefault(group(clip), []).append(name)
    return all(is_version([name.numbers[position] for name in same_group]) for same_group in members.values())


def choose_slot(clips: Sequence[Clip], slots: Slots, ids: Collection[int]) -> tuple[Slot | None, str]:
    """The numbers that say which id each clip has, where they all are ids; else None and why.

    With several numbers in the names, one must be labelled as the sample, or hold exactly the ids.
    """
    known = set(ids)
    full = [slot for slot in (slots.last, *slots.others) if known.issuperset(slot.numbers)]
    if slots.are_samples:
        full = [slot for slot in full if slot is not slots.last]
    equal = [slot for slot in full if known == set(slot.numbers)]
    if len(equal) == 1:
        chosen = equal[0]
    elif len(full) == 1 and (slots.are_samples or not slots.others):
        chosen = full[0]
    elif slots.others:
        return None, f"{clips[0].clip_id} has several numbers, and it is not clear which one is the prompt's"
    else:
        return None, "not every clip ends in a number of the list"
    if chosen is slots.last and (reason := repeated_number(clips, chosen)):
        return None, reason
    return chosen, ""


def repeated_number(clips: Sequence[Clip], slot: Slot) -> str:
    """Why the numbers do not tell clips of one folder apart; empty if they do."""
    counts = Counter(zip(map(group, clips), slot.numbers, strict=True))
    twice = next((number for (_, number), count in counts.items() if count > 1 and number is not None), None)
    return "" if twice is None else f"several clips of one folder end in {twice}"
