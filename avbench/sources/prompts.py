"""Prompt lists, and which prompt belongs to which clip. Never by order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from avbench.clips import Category, Clip, Prompt
from avbench.errors import UsageError
from avbench.sources.columns import find_columns, key_columns, missing_word_notes, read_categories, read_prompt
from avbench.sources.rows import Row, Table
from avbench.sources.safety import printable, some_of
from avbench.sources.separated import known_names
from avbench.sources.tables import TABLE_SUFFIXES, read_table
from avbench.sources.text_files import check_rows, lines_of, read_text, require_file

_TRAILING_NUMBER = re.compile(r"(?<![0-9])([0-9]{1,9})$")


@dataclass(frozen=True)
class PromptRow:
    """One prompt of a list, with its place ("line 12") and what its key columns say."""

    where: str
    prompt: Prompt
    categories: tuple[Category, ...]
    keys: dict[str, str]


@dataclass(frozen=True)
class PromptList:
    """The prompts of a file in the order of its rows; at least one."""

    path: Path
    key_columns: tuple[str, ...]
    rows: tuple[PromptRow, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pairing:
    """A row number for each clip (None: no prompt), and the rule that gave it."""

    rule: str
    numbers: tuple[int | None, ...]


def read_prompts(path: Path) -> PromptList:
    """Read a prompt list: a table with a text column, or a .txt file with one prompt per line.

    Raises:
        UsageError: malformed or too large a file, no text column, no prompts.
        EnvironmentProblem: not enough memory.
    """
    if path.suffix.lower() == ".txt":
        return _read_lines(path)
    return as_prompts(read_table(path))


def as_prompts(table: Table) -> PromptList:
    """The prompts of a table that has been read.

    Raises:
        UsageError: no text column, or a malformed cell.
    """
    columns = find_columns(table)
    if not columns.has_text:
        raise UsageError(
            f"{table.path}: no text column; expected one of text, prompt, caption, prompt_av, video_text, "
            f"audio_text, got {some_of(table.columns, 12) or 'none'}. Rename or add a column `text`."
        )
    keys = key_columns(table)
    rows = []
    for row in table.rows:
        prompt = read_prompt(row, columns)
        if prompt.prompt_id is None:
            prompt = replace(prompt, prompt_id=row.cell(columns.clip_id))
        rows.append(PromptRow(row.where, prompt, read_categories(row, columns), _row_keys(row, keys)))
    return PromptList(table.path, keys, tuple(rows), tuple(missing_word_notes(table.rows, columns)))


def _row_keys(row: Row, keys: tuple[str, ...]) -> dict[str, str]:
    cells = {column: row.key(column) for column in keys}
    return {
        column: cell.strip().replace("\\", "/").removeprefix("./") for column, cell in cells.items() if cell is not None
    }


def _read_lines(path: Path) -> PromptList:
    require_file(path, (".txt", *TABLE_SUFFIXES))
    lines: list[str] = []
    for line in lines_of(read_text(path), path):
        lines.append(line.rstrip("\r\n"))
        check_rows(len(lines), path)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UsageError(f"{path} has no prompts. Write one prompt per line.")
    _refuse_table(path, lines)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise UsageError(
                f"{path}, line {number}: empty line. The line number is the number of the prompt, so fill "
                "the line or remove it."
            )
    table = Table(path, ("text",), tuple(Row(path, f"line {i}", {"text": line}) for i, line in enumerate(lines, 1)))
    return as_prompts(table)


def _refuse_table(path: Path, lines: Sequence[str]) -> None:
    """A spreadsheet saved as text is a table, and its lines are no prompts."""
    for delimiter, suffix in (("\t", ".tsv"), (",", ".csv"), (";", ".csv"), ("|", ".csv")):
        split = len(lines) > 1 and all(delimiter in line for line in lines)
        if split and known_names(lines[:1], delimiter) == lines[0].count(delimiter) + 1:
            raise UsageError(f"{path}, line 1: {lines[0]!r} is the header of a table. Rename the file to {suffix}.")


def pair_by_key(clips: Sequence[Clip], prompts: PromptList) -> Pairing | None:
    """Rule 1: the column that names most clips by relative path, file name or stem; None if none does.

    Raises:
        UsageError: the column names a clip twice, with different prompts.
    """
    best: tuple[int, str, dict[str, list[int]]] | None = None
    for column in prompts.key_columns:
        rows_of: dict[str, list[int]] = {}
        for number, row in enumerate(prompts.rows):
            if column in row.keys:
                rows_of.setdefault(row.keys[column], []).append(number)
        hits = sum(any(name in rows_of for name in _clip_names(clip)) for clip in clips)
        if hits and (best is None or hits > best[0]):
            best = (hits, column, rows_of)
    if best is None:
        return None
    _, column, rows_of = best
    numbers = tuple(_only_row(clip, column, rows_of, prompts) for clip in clips)
    return Pairing(f"column {column!r} of {prompts.path.name} names the clips", numbers)


def _clip_names(clip: Clip) -> tuple[str, ...]:
    stem = clip.clip_id.removesuffix(printable(clip.video.suffix))
    return clip.clip_id, stem, printable(clip.video.name), printable(clip.video.stem)


def _only_row(clip: Clip, column: str, rows_of: dict[str, list[int]], prompts: PromptList) -> int | None:
    numbers = next((rows_of[name] for name in _clip_names(clip) if name in rows_of), None)
    if numbers is None:
        return None
    first = prompts.rows[numbers[0]]
    for other in (prompts.rows[number] for number in numbers[1:]):
        if (other.prompt, other.categories) != (first.prompt, first.categories):
            raise UsageError(
                f"{prompts.path}, {other.where}: column {column!r} names {clip.clip_id} again, with another "
                f"prompt than {first.where}. Keep one of the rows, or list the clips in a manifest."
            )
    return numbers[0]


def pair_by_number(clips: Sequence[Clip], prompts: PromptList) -> tuple[Pairing | None, str]:
    """Rule 2: the number at the end of every file name is a row, counted from 0; else why it is not."""
    numbers, prefixes = [], set()
    for clip in clips:
        stem = printable(clip.video.stem)
        match = _TRAILING_NUMBER.search(stem)
        if match is None:
            return None, f"{clip.clip_id} does not end in a number"
        if int(match[1]) >= len(prompts.rows):
            return (
                None,
                f"{clip.clip_id} asks for row {match[1]}, and there are rows 0 to {len(prompts.rows) - 1}",
            )
        numbers.append(int(match[1]))
        prefixes.add((clip.video.parent, stem[: match.start()]))
    folders = [clip.video.parent for clip in clips]
    places = Counter(zip(folders, numbers, strict=True))
    if twice := [number for (_, number), count in places.items() if count > 1]:
        return None, f"several clips of one folder end in {twice[0]}"
    # Where a list names its clips and no name fits, numbers behind different names are no row numbers.
    if prompts.key_columns and len(prefixes) > len(set(folders)):
        return None, "the clips have different names before their numbers, and the list names its own clips"
    rule = f"the number at the end of each file name is the row of {prompts.path.name}, counted from 0"
    return Pairing(rule, tuple(numbers)), ""


def pair_prompts(clips: Sequence[Clip], prompts: PromptList) -> Pairing:
    """Find the rule that fits: a key column, then the number in each name, then a single prompt.

    Raises:
        UsageError: no rule fits.
    """
    if (pairing := pair_by_key(clips, prompts)) is not None:
        return pairing
    pairing, reason = pair_by_number(clips, prompts)
    if pairing is not None:
        return pairing
    if len(prompts.rows) == 1:
        return Pairing(f"the only prompt of {prompts.path.name} goes to all clips", (0,) * len(clips))
    keys = f"columns {some_of(prompts.key_columns, 6)} name no clip" if prompts.key_columns else "no key column"
    raise UsageError(
        f"{prompts.path}: cannot tell which of {len(prompts.rows)} prompts belongs to which of {len(clips)} "
        f"clips. By name: {keys}. By number at the end of the file name: {reason}. Single prompt: there are "
        f"{len(prompts.rows)}. Add a column `video` with the file name of each clip ({clips[0].clip_id})."
    )


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
