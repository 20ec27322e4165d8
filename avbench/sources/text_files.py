"""Read text files from others: check size and encoding, refuse binary content."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from avbench.errors import UsageError
from avbench.sources.safety import file_kind

MAX_BYTES = 256 << 20
"""The largest table or list that is read: of a text file its bytes, of Parquet those of each column in use."""

MAX_ROWS = 1_000_000
"""The most rows of a table or list."""

_MAX_DEPTH = 64
_MAX_LINE = 16 << 20
# str.splitlines would also cut at U+2028 inside a text.
_LINE = re.compile(r"[^\r\n]++(?:\r\n?|\n)?|\r\n?|\n")
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def require_file(path: Path, expected: Sequence[str]) -> None:
    """Refuse what is no file.

    Raises:
        UsageError: nothing there, a folder, a device; `expected` suffixes are named.
    """
    if (kind := file_kind(path)) != "file":
        what = "does not exist or cannot be read" if kind == "missing" else f"is a {kind}, not a file"
        raise UsageError(f"{path} {what}. Correct the path; expected {', '.join(expected)}.")


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; without the mark.

    Raises:
        UsageError: unreadable, more than `limit` bytes, another encoding, or NUL characters.
    """
    data = _read_bytes(path, limit)
    encoding = next((name for mark, name in _ENCODINGS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as exc:
        raise _not_decoded(path, exc, encoding) from exc
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UsageError(
            f"{path}, line {line}: NUL character. Save the file as plain UTF-8 text (UTF-16 is read only with a byte "
            "order mark)."
        )
    # Programs that put a mark before one that is there.
    return text.lstrip("\ufeff")


def lines_of(text: str, path: Path) -> Iterator[str]:
    """The lines of a text one by one, with their ends (line feed, carriage return, or both).

    Raises:
        UsageError: a line that is too long to be held as cells; with its number.
    """
    for number, match in enumerate(_LINE.finditer(text), start=1):
        if match.end() - match.start() > _MAX_LINE:
            raise UsageError(f"{path}, line {number}: more than {_MAX_LINE:,} characters. Write one row per line.")
        yield match[0]


def check_rows(count: int, path: Path) -> None:
    """Refuse a table that is too long to be held; `count` may include empty lines.

    Raises:
        UsageError: more than `MAX_ROWS`.
    """
    if count > MAX_ROWS:
        raise UsageError(f"{path}: more than {MAX_ROWS:,} rows. Split the file.")


def parse_json(text: str) -> object:
    """A JSON value.

    Raises:
        ValueError: no JSON, a key that an object has twice, a number that is too long, or deep nesting.
    """
    try:
        value: object = json.loads(text, object_pairs_hook=_unique_keys)
    except RecursionError as exc:
        raise ValueError(f"nested more than {_MAX_DEPTH} levels deep") from exc
    if _deeper_than(value, _MAX_DEPTH):
        raise ValueError(f"nested more than {_MAX_DEPTH} levels deep")
    return value


def _read_bytes(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size <= limit:
            return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"{path} cannot be read ({exc.strerror}). Check its permissions.") from exc
    cure = "Split the file" + (", or write it as .jsonl." if path.suffix.lower() == ".json" else ".")
    raise UsageError(f"{path} has {size:,} bytes; up to {limit:,} are read. {cure}")


def _not_decoded(path: Path, exc: UnicodeDecodeError, encoding: str) -> UsageError:
    if encoding.startswith(("utf-16", "utf-32")):
        return UsageError(f"{path}: begins as {encoding.upper()} and is damaged ({exc.reason}). Save it as UTF-8.")
    line = exc.object.count(b"\n", 0, exc.start) + 1
    start = exc.object.rfind(b"\n", 0, exc.start) + 1
    around = exc.object[max(start, exc.start - 12) : exc.start + 12].split(b"\n")[0].decode("cp1252", "replace").strip()
    return UsageError(
        f"{path}, line {line}: byte 0x{exc.object[exc.start]:02x} is not UTF-8 (in Windows-1252 this reads "
        f'{around!r}). Save the file as UTF-8; in Excel: "CSV UTF-8".'
    )


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)[:60]!a} appears twice")
    return content


def _deeper_than(value: object, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [child for item in level for child in _children(item)]
    return bool(level)


def _children(value: object) -> Iterator[object]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()
