"""Prompt lists: a table with a text column, or a text file with one prompt per line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from avbench.clips import Category, Prompt
from avbench.errors import UsageError
from avbench.sources.columns import find_columns, key_columns, read_categories, read_prompt, text_notes
from avbench.sources.numbering import number_cells, number_columns, numbered_columns, plain_cell, read_numbers
from avbench.sources.rows import Row, Table
from avbench.sources.safety import some_of
from avbench.sources.separated import known_names
from avbench.sources.suffixes import without_suffix
from avbench.sources.tables import TABLE_SUFFIXES, read_table
from avbench.sources.text_files import check_rows, lines_of, read_text, require_file
from avbench.sources.unlisted import unlisted_cells, unlisted_columns

# The number of a line ("1. A dog"), or the name of a file ("a.mp4|A dog").
_LABEL = re.compile(r"\s*(?:(?P<number>[0-9]{1,9})\s*[.):\t|]|(?P<name>[^\t|,;]{1,300}?)\s*[\t|,;])\s*\S")


@dataclass(frozen=True)
class PromptRow:
    """One prompt of a list, with its position ("line 12") and what its columns of names and numbers say."""

    where: str
    prompt: Prompt
    categories: tuple[Category, ...]
    keys: dict[str, str]


@dataclass(frozen=True)
class PromptList:
    """The prompts of a file in the order of its rows; at least one.

    Attributes:
        key_columns: columns that can name clips, the likeliest first.
        notes: things a user should look at.
        number_columns: other columns that number the rows by their name, the likeliest first.
        numbered_columns: columns of unknown names that hold a number in each row, no two the same.
        unlisted_columns: columns of unknown names with texts that may name clips.
    """

    path: Path
    key_columns: tuple[str, ...]
    rows: tuple[PromptRow, ...]
    notes: tuple[str, ...] = ()
    number_columns: tuple[str, ...] = ()
    numbered_columns: tuple[str, ...] = ()
    unlisted_columns: tuple[str, ...] = ()


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
    keys, numbers, numbered = key_columns(table), number_columns(table), numbered_columns(table)
    others = unlisted_columns(table)
    names: dict[str, None] = {}
    rows = []
    for row in table.rows:
        prompt = read_prompt(row, columns)
        if prompt.prompt_id is None:
            prompt = replace(prompt, prompt_id=row.cell(columns.clip_id))
        unlisted = unlisted_cells(row, others)
        names |= dict.fromkeys(unlisted)
        cells = _row_keys(row, keys) | _row_numbers(row, numbers, numbered) | unlisted
        rows.append(PromptRow(row.where, prompt, read_categories(row, columns), cells))
    notes = tuple(text_notes(table.rows, columns))
    return PromptList(table.path, keys, tuple(rows), notes, numbers, numbered, tuple(names))


def _row_numbers(row: Row, numbers: tuple[str, ...], numbered: tuple[str, ...]) -> dict[str, str]:
    named = {column: cell for column in numbers if (cell := plain_cell(row.cells.get(column))) is not None}
    parts = number_cells(row, tuple(row.cells)) if numbered else {}
    return named | {name: parts[name] for name in numbered if name in parts}


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
    _refuse_labels(path, lines)
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


def _refuse_labels(path: Path, lines: Sequence[str]) -> None:
    """Lines that begin with their number or the name of a file are rows of a table, too."""
    labels = [_LABEL.match(line) for line in lines]
    numbers = [None if label is None else label["number"] for label in labels]
    counted = len(lines) > 1 and None not in numbers and read_numbers(numbers).counts
    names = [None if label is None else label["name"] for label in labels]
    if counted or all(name is not None and without_suffix(name) != name for name in names):
        raise UsageError(labelled_lines(path, lines[0]))


def labelled_lines(path: Path, line: str) -> str:
    """The message for a text file whose lines begin with numbers or names, which are no part of a prompt."""
    return (
        f"{path}, line 1: every line begins with its number or with the name of a clip, as {line[:40]!r} does. Write a "
        "CSV with the columns `id` or `video`, and `text`."
    )
