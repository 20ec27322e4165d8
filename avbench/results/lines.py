"""The record of a run, scores.jsonl and clips.jsonl: one JSON object on each line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from avbench.results.damage import DamagedRunError, open_entry, why
from avbench.results.rules import columns_of, row_problem
from avbench.results.schema import ClipRow, ScoreRow

_NAMES = {row: frozenset(column.name for column in columns_of(row)) for row in (ScoreRow, ClipRow)}
# All columns in order, so that every row has its names from here and not texts of its own.
_EMPTY = {row: {column.name: column.default for column in columns_of(row)} for row in _NAMES}
MOST_LINE_BYTES = 64 * 2**20
MOST_RECORD_BYTES = 256 * 2**30

Row = TypeVar("Row", ScoreRow, ClipRow)


def read_lines(folder: Path, name: str, row: type[Row]) -> Iterator[tuple[int, Row]]:
    """The rows of a record with their offsets in the file, in order of writing, one at a time.

    What follows the last newline is left out: a kill may have interrupted the last write. A file that is missing has
    no rows.

    Raises:
        DamagedRunError: a line is no such row; says which. Or the file is a link, a folder, a pipe.
    """
    if not (folder / name).is_symlink() and not (folder / name).exists():
        return
    with open_entry(folder, name, most=MOST_RECORD_BYTES) as file:
        offset = 0
        for number, line in enumerate(_whole_lines(folder, name, file), 1):
            yield offset, _parse(folder, name, number, line, row)
            offset += len(line)


def read_at(folder: Path, name: str, offsets: Iterable[int], row: type[Row]) -> Iterator[Row]:
    """The rows at offsets that `read_lines` gave, in the order given."""
    with open_entry(folder, name, most=MOST_RECORD_BYTES) as file:
        for offset in offsets:
            file.seek(offset)
            yield _build(json.loads(file.readline()), row)


def _whole_lines(folder: Path, name: str, file: IO[bytes]) -> Iterator[bytes]:
    number = 0
    while line := file.readline(MOST_LINE_BYTES + 1):
        number += 1
        if len(line) > MOST_LINE_BYTES:
            raise DamagedRunError(folder, name, f"line {number} has more than {MOST_LINE_BYTES:,} bytes")
        if line.endswith(b"\n"):
            yield line


def _parse(folder: Path, name: str, number: int, line: bytes, row: type[Row]) -> Row:
    try:
        content = json.loads(line)
        problem = row_problem(content, row) if isinstance(content, dict) else "no JSON object"
    except (ValueError, RecursionError, MemoryError) as error:
        problem = f"no JSON ({why(error)})"
    if problem is not None:
        raise DamagedRunError(folder, name, f"line {number} is not a {row.__name__} ({problem})")
    return _build(content, row)


def _build(content: dict[str, Any], row: type[Row]) -> Row:
    # As the constructor would: that of a frozen class sets field by field, half of the time that reading takes.
    built = object.__new__(row)
    vars(built).update(_EMPTY[row])
    vars(built).update(content if content.keys() <= _NAMES[row] else _known(content, row))
    return built


def _known(content: dict[str, Any], row: type[Row]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name in _NAMES[row]}


def cut_torn_line(path: Path) -> None:
    """Drop what follows the last newline: a kill may have interrupted the last write."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            start = max(0, position - 65536)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < end:
            file.truncate(position)
