"""By name: a column of the list names the clips, as they are spelled or in another spelling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from avbench.clips import Clip
from avbench.errors import UsageError
from avbench.sources.numbering import SAMPLE_WORDS, is_plain, read_numbers
from avbench.sources.pairing.base import (
    CURE,
    Pairing,
    cells,
    difference,
    group,
    last_words,
    only_row,
    refuse_difference,
    same_prompt,
)
from avbench.sources.pairing.lines import refuse_named_lines
from avbench.sources.pairing.numbers import pair_all_by_number, refuse_other_start
from avbench.sources.prompts import PromptList
from avbench.sources.safety import printable
from avbench.sources.spelling import bare, caseless, composed, tails, words
from avbench.sources.suffixes import without_suffix

Words = tuple[str, ...]

_CURE = f"{CURE}, and remove or rename the others"


@dataclass
class _Match:
    """What one column says: the rows that name each clip, and how."""

    column: str
    rows: list[list[int]]
    exact: bool = True
    problem: str | None = None
    taken: dict[object, set[int]] = field(default_factory=dict)

    @property
    def hits(self) -> int:
        return sum(map(bool, self.rows))


def pair_by_name(clips: Sequence[Clip], prompts: PromptList) -> Pairing | None:
    """The column that names most clips; None if none does.

    A name fits as it is, else in Unicode's form NFC, else without upper case, else up to separators and leading zeros;
    folders count where both sides have them. Where no column fits so, a constant in front of the name and a sample
    number behind it are allowed.

    Raises:
        UsageError: rows, clips or columns contradict each other, or clips and list may count from another start.
    """
    refuse_named_lines(clips, prompts)
    # A column of numbers is read by the rule for numbers, which knows about counting from 0 and from 1.
    columns = [column for column in prompts.key_columns if not is_plain(read_numbers(cells(prompts, column)))]
    matches = [_match(clips, prompts, column) for column in columns]
    if not any(match.hits for match in matches):
        matches = [_match_inside(clips, prompts, column) for column in columns]
    most = max((match.hits for match in matches), default=0)
    if most == 0:
        return _pair_by_unlisted(clips, prompts)
    best = [_as_pairing(match, clips, prompts) for match in matches if match.hits == most]
    for other in best[1:]:
        refuse_difference(clips, prompts, best[0], other, _CURE)
    if not best[0].is_complete and (unlisted := _pair_by_unlisted(clips, prompts)):
        refuse_difference(clips, prompts, best[0], unlisted, _CURE)
    return best[0]


def _pair_by_unlisted(clips: Sequence[Clip], prompts: PromptList) -> Pairing | None:
    """The column of an unknown name that names every clip, each with one prompt; None if there is none.

    Raises:
        UsageError: two such columns, or a column that numbers the rows, contradict each other.
    """
    best: Pairing | None = None
    for match in _unlisted_matches(clips, prompts):
        distinct = all(rows and all(same_prompt(prompts, rows[0], row) for row in rows[1:]) for rows in match.rows)
        if match.problem or not distinct:
            continue
        pairing = _as_pairing(match, clips, prompts)
        if best is not None:
            refuse_difference(clips, prompts, best, pairing, _CURE)
        best = best or pairing
    if best is not None:
        numbered, _ = pair_all_by_number(clips, prompts, paths_name_clips=False)
        if numbered is not None:
            refuse_difference(clips, prompts, best, numbered, _CURE)
    return best


def other_names(clips: Sequence[Clip], prompts: PromptList, pairing: Pairing) -> str | None:
    """Which column of an unknown name gives a clip another row than `pairing`, and the first such clip, or None."""
    for match in _unlisted_matches(clips, prompts):
        pairs = zip(pairing.numbers, match.rows, strict=True)
        named = [_named_row(prompts, position, rows) for position, rows in pairs]
        rule = f"column {match.column!r} of {prompts.path.name} names clips"
        if message := difference(clips, prompts, Pairing(rule, tuple(named)), pairing):
            return message
    return None


def _named_row(prompts: PromptList, position: int | None, rows: Sequence[int]) -> int | None:
    if not rows:
        # A single row that names clips is not for the others.
        return None if len(prompts.rows) == 1 else position
    return position if any(same_prompt(prompts, position, row) for row in rows) else rows[0]


def _unlisted_matches(clips: Sequence[Clip], prompts: PromptList) -> Iterator[_Match]:
    """What columns of unknown names say that name a clip."""
    # The loosest spelling first: most columns name no clip at all, and need no closer look.
    stems = {words(printable(clip.video.stem)) for clip in clips} | {last_words(clip.clip_id) for clip in clips}
    for column in prompts.unlisted_columns:
        if any(cell is not None and last_words(cell) in stems for cell in cells(prompts, column)):
            match = _match(clips, prompts, column)
            if match.hits:
                yield match


def _as_pairing(match: _Match, clips: Sequence[Clip], prompts: PromptList) -> Pairing:
    if match.problem:
        raise UsageError(match.problem)
    pairs = zip(clips, match.rows, strict=True)
    rows = tuple(only_row(clip, match.column, matched, prompts) for clip, matched in pairs)
    if match.exact:
        return Pairing(f"column {match.column!r} of {prompts.path.name} names the clips", rows)
    if None in rows:
        refuse_other_start(clips, prompts, match.column)
    values = cells(prompts, match.column)
    named = ((clip, values[row]) for clip, row in zip(clips, rows, strict=True) if row is not None)
    clip, cell = next((clip, cell) for clip, cell in named if cell not in _exact_names(clip))
    rule = f"column {match.column!r} of {prompts.path.name} names the clips"
    if cell is not None and composed(cell) in map(composed, _exact_names(clip)):
        return Pairing(f"{rule}, which are spelled in another Unicode form ({clip.clip_id})", rows)
    return Pairing(f"{rule} in another spelling ({cell!r} is {clip.clip_id})", rows)


def _exact_names(clip: Clip) -> tuple[str, ...]:
    stem = clip.clip_id.removesuffix(printable(clip.video.suffix))
    return clip.clip_id, stem, printable(clip.video.name), printable(clip.video.stem)


def _joined_words(path: str) -> str:
    return "/".join(" ".join(words(part)) for part in path.split("/"))


# How a name is spelled before it is compared, the strictest first.
_SPELLINGS: tuple[Callable[[str], str], ...] = (composed, caseless, _joined_words)


def _match(clips: Sequence[Clip], prompts: PromptList, column: str) -> _Match:
    match = _Match(column, [[] for _ in clips])
    values = cells(prompts, column)
    _add(match, clips, _index([() if cell is None else (cell,) for cell in values]), _exact_names)
    for spell in _SPELLINGS:
        if match.hits == len(clips):
            break
        index = _index([() if cell is None else _spelled(without_suffix(bare(cell)), spell) for cell in values])
        _add(match, clips, index, partial(_clip_names, spell), exact=False)
    return match


def _spelled(path: str, spell: Callable[[str], str]) -> tuple[str, ...]:
    return tuple(name for name in map(spell, tails(path)) if name.strip("/ "))


def _clip_names(spell: Callable[[str], str], clip: Clip) -> tuple[str, ...]:
    by_id = tails(without_suffix(clip.clip_id))
    by_path = tails(printable(clip.video.with_suffix("").as_posix() if clip.video.suffix else clip.video.as_posix()))
    longest_first = sorted((*by_id, *by_path), key=lambda name: -name.count("/"))
    return tuple(name for name in map(spell, longest_first) if name.strip("/ "))


def _index(names: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    index: dict[str, list[int]] = {}
    for position, spellings in enumerate(names):
        for name in dict.fromkeys(spellings):
            index.setdefault(name, []).append(position)
    return index


def _add(
    match: _Match,
    clips: Sequence[Clip],
    index: dict[str, list[int]],
    names: Callable[[Clip], tuple[str, ...]],
    *,
    exact: bool = True,
) -> None:
    """Give clips that have no row yet those that `index` has under their names, and that no stricter spelling took."""
    fresh: dict[tuple[object, int], Clip] = {}
    for position, clip in enumerate(clips):
        if match.rows[position]:
            continue
        named = next((index[name] for name in names(clip) if name in index), [])
        rows = [row for row in named if row not in match.taken.get(group(clip), ())]
        for row in rows:
            other = fresh.setdefault((group(clip), row), clip)
            if not exact and other.video.stem != clip.video.stem:
                match.problem = match.problem or (
                    f"two names of clips are one name to column {match.column!r}: {other.clip_id} and {clip.clip_id} "
                    f"({[ascii(c.video.stem) for c in (other, clip)]}). Rename one, or list the clips in a manifest."
                )
        match.rows[position] = rows
        match.exact = match.exact and (exact or not rows)
    for owner, row in fresh:
        match.taken.setdefault(owner, set()).add(row)


def _match_inside(clips: Sequence[Clip], prompts: PromptList, column: str) -> _Match:
    """Names of the column inside longer names of clips: a constant before them, a sample number behind them."""
    index: dict[Words, list[int]] = {}
    for row, cell in enumerate(cells(prompts, column)):
        name = last_words(cell) if cell else ()
        if any(word.isalpha() for word in name):
            index.setdefault(name, []).append(row)
    members: dict[object, list[int]] = {}
    for position, clip in enumerate(clips):
        members.setdefault(group(clip), []).append(position)
    match = _Match(column, [[] for _ in clips], exact=False)
    for positions in members.values():
        matches = [_inside(words(clips[position].video.stem), index) for position in positions]
        prefixes = {prefix for prefix, _ in matches}
        if len(prefixes) == 1 and (len(positions) > 1 or prefixes == {()}):
            for position, (_, rows) in zip(positions, matches, strict=True):
                match.rows[position] = rows
    return match


def _inside(name: Words, index: dict[Words, list[int]]) -> tuple[Words | None, list[int]]:
    """The longest part of a name that the list knows: what stands before it, and its rows."""
    ends = [len(name)]
    if name and name[-1].isdigit():
        ends.append(len(name) - 1)
        if name[-2:-1] and name[-2] in SAMPLE_WORDS:
            ends.append(len(name) - 2)
    for start in range(len(name)):
        for end in ends:
            if rows := index.get(name[start:end]):
                return name[:start], rows
    return None, []
