"""JSON lines, a JSON list of objects, and the JSON object of file names and prompts that VBench reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from avbench.errors import UsageError
from avbench.sources.columns import has_meaning
from avbench.sources.rows import Row, Rows, column_name, describe
from avbench.sources.text_files import MAX_ROWS, check_rows, lines_of, parse_json, read_text

# JSON as a whole takes many times its size once it is read.
_MAX_JSON = 64 << 20
_MAX_VALUES = 4 * MAX_ROWS
_EXAMPLE = '[{"video": "a.mp4", "text": "..."}]'


def read_json_lines(path: Path) -> Rows:
    """Column names and rows of a file with one JSON object per line.

    Raises:
        UsageError: malformed; with the line.
    """
    return _from_records(_parsed_lines(path), path)


def _parsed_lines(path: Path) -> Iterator[tuple[str, object]]:
    for number, line in enumerate(lines_of(read_text(path), path), start=1):
        check_rows(number, path)
        if line.strip():
            yield f"line {number}", _parse(line, f"{path}, line {number}")


def read_json(path: Path) -> Rows:
    """Column names and rows of a list of objects, or of an object that maps file names to prompts.

    The object becomes rows with the columns `video` and `text`; where names have folders in them, also `file_name`.

    Raises:
        UsageError: malformed, or another value; with the item.
    """
    text = read_text(path, _MAX_JSON)
    if sum(map(text.count, ",[{")) > _MAX_VALUES:
        raise UsageError(f"{path}: more than {_MAX_VALUES:,} values. Write it as .jsonl, one object per line.")
    value = _parse(text, str(path))
    if isinstance(value, dict):
        return _from_records(_named_prompts(value, path), path)
    if not isinstance(value, list):
        raise UsageError(
            f"{path}: expected a list of objects, got {describe(value)}. Write {_EXAMPLE} or use .jsonl with an object "
            "per line."
        )
    return _from_records(((f"item {i}", item) for i, item in enumerate(value, start=1)), path)


def _named_prompts(prompts: Mapping[str, object], path: Path) -> list[tuple[str, object]]:
    if known := [key for key in prompts if has_meaning(key)]:
        raise UsageError(
            f"{path}: expected a list of objects, got an object with the key {known[0]!r}. Write {_EXAMPLE}; pandas "
            'does with orient="records".'
        )
    records: list[tuple[str, object]] = []
    files = {name: re.split(r"[/\\]", name)[-1] for name in prompts}
    with_folders = any(name != file for name, file in files.items())
    for number, (name, text) in enumerate(prompts.items(), start=1):
        single = text[0] if isinstance(text, list) and len(text) == 1 else text
        if isinstance(text, list) and text and isinstance(text[0], dict):
            raise UsageError(
                f"{path}, item {number}: {name[:60]!a} is {describe(text)} of objects. Give that list: {_EXAMPLE}."
            )
        if single is not None and not isinstance(single, str):
            raise UsageError(
                f"{path}, item {number}: {name[:60]!a} is {describe(single)}; expected the prompt of the file of that "
                f'name, as in {{"a.mp4": "..."}}. For more than a text write a list of objects: {_EXAMPLE}.'
            )
        cells = {"video": name, "text": single} | ({"file_name": files[name]} if with_folders else {})
        records.append((f"item {number}", cells))
    return records


def _parse(text: str, location: str) -> object:
    try:
        return parse_json(text)
    except json.JSONDecodeError as exc:
        raise UsageError(
            f"{location}: invalid JSON ({exc.msg} at line {exc.lineno}, column {exc.colno} of it). Write one "
            "complete JSON object per line (.jsonl) or a list of objects (.json)."
        ) from exc
    except ValueError as exc:
        raise UsageError(f"{location}: JSON that cannot be read ({exc}). Correct the value.") from exc


def _from_records(records: Iterable[tuple[str, object]], path: Path) -> Rows:
    rows: list[Row] = []
    columns: dict[str, None] = {}
    for where, record in records:
        if not isinstance(record, dict):
            raise UsageError(
                f"{path}, {where}: expected an object, got {describe(record)}. Write for example "
                '{"video": "a.mp4", "text": "..."}.'
            )
        row = Row(path, where, _cells(record, f"{path}, {where}"))
        columns.update(dict.fromkeys(row.cells))
        rows.append(row)
        check_rows(len(rows), path)
    return tuple(columns), rows


def _cells(record: Mapping[str, object], location: str) -> dict[str, object]:
    cells: dict[str, object] = {}
    for key, value in record.items():
        if not (name := column_name(key, location)):
            continue
        if name in cells:
            raise UsageError(f"{location}: the key {name!r} appears twice, once with spaces. Remove one.")
        cells[name] = value
    return cells
