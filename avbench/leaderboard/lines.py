"""CSV files with line numbers: each wrong line becomes a problem with its line number, the others are read."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.leaderboard.schema import Problem
from avbench.terminal.text import from_csv_cell
from avbench.toml import ConfigError, Origin, parse_toml

Report = Callable[[str, str], None]
"""(column, message): one problem of the line at hand."""


@dataclass(frozen=True)
class Line:
    """One line of a table; `cells` has every column."""

    file: str
    number: int
    cells: Mapping[str, str]


def read_table(path: Path, name: str, columns: Sequence[str], problems: list[Problem]) -> list[Line]:
    """Lines of a CSV file whose header is exactly `columns`.

    Args:
        path: the file.
        name: what problems call it, relative to the folder.
        columns: the header.
        problems: what is wrong is added here; a line with a wrong number of cells is left out.
    """
    text = read_text(path, name, problems)
    if text is None:
        return []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[Line] = []
    try:
        header = next(reader, [])
        if header != list(columns):
            problems.append(Problem(name, 1, "", _wrong_header(header, columns)))
            return []
        start = reader.line_num + 1
        for cells in reader:
            if len(cells) == len(columns):
                lines.append(Line(name, start, dict(zip(columns, map(from_csv_cell, cells), strict=True))))
            else:
                message = f"{len(cells)} cells, expected {len(columns)}. Quote cells that contain commas."
                problems.append(Problem(name, start, "", message))
            start = reader.line_num + 1
    except csv.Error as error:
        problems.append(Problem(name, reader.line_num, "", f"not CSV ({error}). Quote the cell, and close its quotes."))
    for line in lines:
        problems.extend(untidy(line))
    return lines


def read_text(path: Path, name: str, problems: list[Problem]) -> str | None:
    """A UTF-8 file; None, and a problem, where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(Problem(name, 0, "", f"not UTF-8 at byte {error.start}. Save it as UTF-8."))
    except OSError as error:
        problems.append(Problem(name, 0, "", f"cannot be read: {error.strerror or error}."))
    return None


def read_toml(path: Path, name: str, problems: list[Problem]) -> tuple[dict[str, Any], Origin]:
    """A TOML file, empty where it is none; then it is a problem."""
    origin = Origin(name, read_text(path, name, problems) or "")
    try:
        return parse_toml(origin.text, name), origin
    except ConfigError as error:
        problems.append(Problem(name, error.line, "", error.reason))
        return {}, origin


def _wrong_header(header: Sequence[str], columns: Sequence[str]) -> str:
    missing = [name for name in columns if name not in header]
    unknown = [name for name in header if name not in columns]
    parts = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(unknown)}"] * bool(unknown)
    what = "; ".join(parts) or "wrong order or a column twice"
    return f"wrong header: {what}. Expected: {','.join(columns)}"


def untidy(line: Line) -> list[Problem]:
    """Cells with spaces at an end, line breaks or control characters."""
    problems = []
    for column, cell in line.cells.items():
        if cell != cell.strip():
            problems.append(Problem(line.file, line.number, column, f"{cell!r} has spaces at an end. Remove them."))
        elif any(not sign.isprintable() for sign in cell):
            problems.append(Problem(line.file, line.number, column, f"{cell!r} has a line break or control character."))
    return problems
