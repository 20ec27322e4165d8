"""CSV and TSV files, with the separator that the header shows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TypedDict

from avbench.errors import UsageError
from avbench.sources.columns import has_meaning
from avbench.sources.rows import Row, Rows, column_name
from avbench.sources.text_files import check_rows, lines_of, read_text


class _Dialect(TypedDict):
    strict: bool
    skipinitialspace: bool


_MAX_COLUMNS = 10_000
# A header is looked for in so many lines.
_MAX_HEADER = 1000
_DIALECT: _Dialect = {"strict": True, "skipinitialspace": True}
_BLANK_AND_QUOTE = re.compile(r'[^\S \r\n][^\S\r\n]*"')
_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


def read_separated(path: Path) -> Rows:
    """Column names and rows of a CSV or TSV file.

    A .tsv is separated by tabs. A .csv is separated by commas, unless its header has a column that is known only when
    it is split at a semicolon, a tab or a bar. A first line `sep=;`, as Excel reads it, wins in both. Spaces
    between a separator and a cell do not count, so that quotes behind them are quotes.

    Raises:
        UsageError: malformed, or rows of another length than the header; with the line.
    """
    text = read_text(path)
    first = next(lines_of(text, path), "")
    delimiter = _excel_separator(first, path)
    skipped = int(delimiter is not None)
    if delimiter is None:
        delimiter = _shown_by_header(text, path)
    reader = csv.reader(islice(lines_of(text, path), skipped, None), delimiter=delimiter, **_DIALECT)
    header: tuple[str, ...] = ()
    rows: list[Row] = []
    try:
        for count, cells in enumerate(reader):
            check_rows(count, path)
            line = reader.line_num + skipped
            if not cells or (len(header) != 1 and len(cells) == 1 and not cells[0].strip()):
                continue
            if not header:
                header = _header(cells, path, line)
                continue
            rows.append(_row(header, cells, path, line, delimiter))
    except csv.Error as exc:
        raise _malformed(exc, path, reader.line_num + skipped) from exc
    _refuse_blanks(rows, text, delimiter)
    return tuple(name for name in header if name), rows


def known_names(lines: Iterable[str], delimiter: str) -> int:
    """How many columns avbench knows, if the first of `lines` that is not empty is a header split at `delimiter`."""
    try:
        cells = next((cells for cells in csv.reader(lines, delimiter=delimiter, **_DIALECT) if any(cells)), [])
    except csv.Error:
        return 0
    # A tab is a space in names, and "video<tab>text" is no column `video_text`.
    return sum(has_meaning(cell) and "\t" not in cell.strip() for cell in cells[:_MAX_COLUMNS])


def _excel_separator(first: str, path: Path) -> str | None:
    """The separator of a first line `sep=;`."""
    line = first.strip(" \r\n").strip('"')
    if not line.lower().startswith("sep="):
        return None
    delimiter = line[4:]
    if delimiter not in _NAMES:
        raise UsageError(
            f"{path}, line 1: {line[:20]!r} names a separator that is not read; expected one of "
            f"{', '.join(_NAMES.values())} (sep=;). Save the file with one of these."
        )
    return delimiter


def _shown_by_header(text: str, path: Path) -> str:
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    counts = {delimiter: known_names(islice(lines_of(text, path), _MAX_HEADER), delimiter) for delimiter in _NAMES}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    if counts[usual] or not counts[best]:
        return usual
    if usual == "\t":
        raise UsageError(
            f"{path}, line 1: the header is separated by {_NAMES[best]}; expected a tab in a .tsv. Rename it to .csv."
        )
    return best


def _header(cells: list[str], path: Path, line: int) -> tuple[str, ...]:
    if len(cells) > _MAX_COLUMNS:
        raise UsageError(f"{path}, line {line}: {len(cells):,} columns; up to {_MAX_COLUMNS:,} are read.")
    named = [column_name(cell, f"{path}, line {line}") for cell in cells]
    # pandas writes the index of a table first, without a name, and reads it back under this one.
    names = tuple(name or ("Unnamed: 0" if column == 0 else "") for column, name in enumerate(named))
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise UsageError(f"{path}, line {line}: column {repeated[0]!r} appears twice. Rename or remove one.")
    return names


def _row(header: tuple[str, ...], cells: list[str], path: Path, line: int, delimiter: str) -> Row:
    if len(cells) != len(header):
        raise UsageError(
            f"{path}, line {line}: expected {len(header)} cells as in the header, got {len(cells)} (the separator is "
            f"{_NAMES[delimiter]}). Put a text that has the separator in it in double quotes."
        )
    return Row(path, f"line {line}", {name: cell for name, cell in zip(header, cells, strict=True) if name})


def _refuse_blanks(rows: list[Row], text: str, delimiter: str) -> None:
    """Do nothing unless a cell has a tab or the like before its quotes, which are then read as a part of it."""
    odd = [(row, cell) for row in rows for cell in map(str, row.cells.values()) if _BLANK_AND_QUOTE.match(cell)]
    if not odd:
        return
    # A cell in quotes may hold the same, so that those go first.
    start, ends = rf"(\A|[\r\n{delimiter}])", rf"\r\n{delimiter}"
    bare = re.sub(rf'{start} *"[^"]*(?:""[^"]*)*"', r"\1", text)
    # Blanks without the separator: of thousands of empty cells between tabs, each would look through all that follow.
    cells = re.finditer(rf'{start} *([^\S {ends}][^\S{ends}]*"[^{ends}]*)', bare)
    found = {match[2] for match in cells}
    for row, cell in odd:
        if cell in found:
            raise UsageError(
                f"{row.location}: {cell[:20]!r} has another blank than a space before its quotes. Remove the blank."
            )


def _malformed(exc: csv.Error, path: Path, line: int) -> UsageError:
    if "field larger" in str(exc):
        return UsageError(
            f"{path}, line {line}: a cell of more than {csv.field_size_limit():,} characters. Close its double quotes; "
            "a prompt is never that long."
        )
    return UsageError(
        f"{path}, line {line}: malformed CSV ({exc}). Put a text with commas, quotes or line "
        'breaks in double quotes and double the quotes inside it ("").'
    )
