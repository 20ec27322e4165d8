"""Tables of text from CSV, TSV, JSON lines, JSON and Parquet files. Every cell is a text or None."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from avbench.errors import UsageError
from avbench.sources.safety import file_kind


@dataclass(frozen=True)
class Row:
    """One row. `where` says its place in the file ("line 12")."""

    where: str
    cells: Mapping[str, str | None]

    def cell(self, column: str | None) -> str | None:
        """The text under `column`; None where the column or the text is missing."""
        return None if column is None else self.cells.get(column)


@dataclass(frozen=True)
class Table:
    """The rows of a file; at least one."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def place(self, row: Row) -> str:
        """File and line of a row, for messages."""
        return f"{self.path}, {row.where}"


def read_table(path: Path) -> Table:
    """Read a table by its suffix.

    Raises:
        UsageError: unknown suffix, unreadable or malformed file, or no rows; with the line where known.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path}: unknown kind of table {path.suffix!r}; expected {', '.join(TABLE_SUFFIXES)}. Convert the file."
        )
    table = reader(path)
    if not table.rows:
        raise UsageError(f"{path} has no rows. Add a header line (CSV) and one row for each clip or prompt.")
    return table


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        UsageError: no such file, unreadable, other encoding, or NUL characters.
    """
    data = _read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = exc.object.count(b"\n", 0, exc.start) + 1
        raise UsageError(
            f"{path}, line {line}: byte 0x{exc.object[exc.start]:02x} is not UTF-8. Save the file as UTF-8."
        ) from exc
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UsageError(f"{path}, line {line}: NUL character. Save the file as plain UTF-8 text.")
    return text


def text_or_none(text: str | None) -> str | None:
    """None for what stands for a missing value: nothing, only spaces, or the NaN of pandas."""
    return None if text is None or text.strip() in ("", "nan", "NaN") else text


def _read_bytes(path: Path) -> bytes:
    if (kind := file_kind(path)) != "file":
        what = "does not exist or cannot be read" if kind == "missing" else f"is a {kind}, not a file"
        raise UsageError(f"{path} {what}. Correct the path; expected {', '.join(TABLE_SUFFIXES)}.")
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"{path} cannot be read ({exc.strerror}). Check its permissions.") from exc


def _read_csv(path: Path) -> Table:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    header: tuple[str, ...] = ()
    rows = []
    try:
        for cells in reader:
            if not cells or (len(header) != 1 and len(cells) == 1 and not cells[0].strip()):
                continue
            if not header:
                header = _header(cells, path, reader.line_num)
                continue
            rows.append(_csv_row(header, cells, path, reader.line_num))
    except csv.Error as exc:
        raise UsageError(
            f"{path}, line {reader.line_num}: malformed CSV ({exc}). Put a text with commas, quotes or line "
            'breaks in double quotes and double the quotes inside it ("").'
        ) from exc
    return Table(path, tuple(name for name in header if name), tuple(rows))


def _header(cells: list[str], path: Path, line: int) -> tuple[str, ...]:
    names = tuple(cell.strip() for cell in cells)
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise UsageError(f"{path}, line {line}: column {repeated[0]!r} appears twice. Rename or remove one.")
    return names


def _csv_row(header: tuple[str, ...], cells: list[str], path: Path, line: int) -> Row:
    if len(cells) != len(header):
        raise UsageError(
            f"{path}, line {line}: expected {len(header)} cells as in the header, got {len(cells)}. Put a "
            "text that has commas in double quotes."
        )
    return _row(zip(header, cells, strict=True), path, f"line {line}")


def _read_json_lines(path: Path) -> Table:
    records = []
    # Split at "\n" only: str.splitlines would also cut at U+2028 inside a text.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            where = f"line {number}"
            records.append((where, _parse_json(line, f"{path}, {where}")))
    return _from_records(records, path)


def _read_json(path: Path) -> Table:
    value = _parse_json(read_text(path), str(path))
    if not isinstance(value, list):
        raise UsageError(
            f"{path}: expected a list of objects, got {type(value).__name__}. Write "
            '[{"video": "a.mp4", "text": "..."}] or use .jsonl with an object per line.'
        )
    return _from_records([(f"item {i}", item) for i, item in enumerate(value, start=1)], path)


def _parse_json(text: str, place: str) -> object:
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as exc:
        raise UsageError(
            f"{place}: invalid JSON ({exc.msg} at line {exc.lineno}, column {exc.colno} of it). Write one "
            "complete JSON object per line (.jsonl) or a list of objects (.json)."
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{place}: JSON that cannot be read ({exc}). Correct the value.") from exc
    return value


def _from_records(records: list[tuple[str, object]], path: Path) -> Table:
    rows = []
    columns: dict[str, None] = {}
    for where, record in records:
        if not isinstance(record, dict):
            raise UsageError(
                f"{path}, {where}: expected an object, got {type(record).__name__}. Write for example "
                '{"video": "a.mp4", "text": "..."}.'
            )
        row = _row(((key.strip(), value) for key, value in record.items()), path, where)
        columns.update(dict.fromkeys(row.cells))
        rows.append(row)
    return Table(path, tuple(columns), tuple(rows))


def _read_parquet(path: Path) -> Table:
    from pyarrow import parquet

    data = _read_bytes(path)
    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        # Media stored in the table (bytes, or a struct with bytes) are no paths and can be huge.
        names = [field.name for field in file.schema_arrow if "binary" not in str(field.type)]
        columns = file.read(columns=names).to_pydict()
    except Exception as exc:
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise UsageError(f"{path}: not a readable Parquet file ({reason}). Write the file again.") from exc
    names = [name for name in names if name in columns]
    if not names:
        return Table(path, (), ())
    values = zip(*(columns[name] for name in names), strict=True)
    rows = [_row(zip(names, cells, strict=True), path, f"row {number}") for number, cells in enumerate(values, start=1)]
    return Table(path, tuple(names), tuple(rows))


def _row(cells: Iterable[tuple[str, object]], path: Path, where: str) -> Row:
    place = f"{path}, {where}"
    return Row(where, {_valid(name, place): _cell(value, place) for name, value in cells if name})


def _cell(value: object, place: str) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, (list, dict)):
        text = json.dumps(value, ensure_ascii=False, default=str)
    else:
        text = str(value)
    return text_or_none(_valid(text, place))


def _valid(text: str, place: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise UsageError(
            f"{place}: {text[:60]!a} is not valid Unicode (half of a surrogate pair). Write the text again."
        ) from exc
    if "\0" in text:
        raise UsageError(f"{place}: {text[:60]!r} has a NUL character. Remove it.")
    return text


_READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
TABLE_SUFFIXES = tuple(_READERS)
