"""Rows of a table, and their cells read as a prompt, a name or a structure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from avbench.errors import UsageError
from avbench.sources.spelled_values import spelled_value
from avbench.sources.spelling import without_marks
from avbench.terminal.text import visible

# Written by str() or by a spreadsheet where a value is missing; no prompt says only this.
MISSING_WORDS = frozenset(
    {"none", "null", "nil", "n/a", "n.a.", "na", "<na>", "nan", "nat", "#n/a", "#ref!", "undefined", "-"}
)

_LONGEST_NAME = 200
# Of a list or an object in a cell. A list of one prompt's samples is shorter.
_MOST_PARTS = 16
_BREAKS = re.compile(r"[\t\n\v\f\r]+")


@dataclass(frozen=True)
class Media:
    """A cell that holds a video, a sound or other bytes; `name` is the file name that goes with them."""

    name: str | None = None


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        path: the file.
        where: the row's position in it ("line 12").
        cells: values as the file's format gives them: text, number, bool, list, dict, bytes, Media, None.
    """

    path: Path
    where: str
    cells: Mapping[str, object]

    @property
    def location(self) -> str:
        """File and line, for messages."""
        return f"{self.path}, {self.where}"

    def text(self, column: str | None) -> str | None:
        """The prompt under `column`; None where it is missing.

        Raises:
            UsageError: anything but a text, or a list of one text; also where a text spells it.
        """
        value = self._single(column)
        if isinstance(value, str) and (spelled := spelled_value(value)) is not None:
            value = _only(spelled)
        if isinstance(value, str):
            return None if is_missing(value) or says_missing(value) else value
        if value is None:
            return None
        raise self._unexpected(str(column), value, "Put it in quotes if it is the prompt; else rename the column.")

    def cell(self, column: str | None) -> str | None:
        """The name, path or number under `column` as text; None where it is missing.

        Raises:
            UsageError: a list of several, an object, true or false, or bytes of a media file.
        """
        value = self._single(column)
        if isinstance(value, (bool, Media, list, dict)):
            raise self._unexpected(str(column), value, "Write one text, or rename the column.")
        if value is None or is_missing(text := self._valid(str(value))):
            return None
        return text

    def key(self, column: str) -> str | None:
        """As `cell`, for a column that may name a clip: of media only the file name counts, where there is one."""
        value = self._single(column)
        return value.name if isinstance(value, Media) else self.cell(column)

    def structure(self, column: str) -> str | None:
        """Text as it is, and lists and objects as JSON; None where it is missing.

        Raises:
            UsageError: bytes of a media file.
        """
        value = self._decoded(column)
        if isinstance(value, Media):
            raise self._unexpected(column, value, "Write texts, or rename the column.")
        if isinstance(value, (bool, list, dict)):
            return self._valid(json.dumps(value, ensure_ascii=False, default=str))
        return self.cell(column)

    def says_missing(self, column: str) -> bool:
        """Whether the cell holds a word for a missing value, such as None or N/A."""
        value = self._single(column)
        return isinstance(value, str) and says_missing(value)

    def _decoded(self, column: str | None) -> object:
        """The value with byte strings as text, and what holds media as `Media`."""
        value = None if column is None else self.cells.get(column)
        if isinstance(value, float) and math.isnan(value):
            return None
        if isinstance(value, bytes):
            value = _text_or_media(value)
        # How data sets store a file: its bytes, its path, or both.
        if isinstance(value, dict) and set(value) == {"bytes", "path"}:
            path = value["path"] if isinstance(value["path"], str) else None
            value = path if not value["bytes"] else Media(path)
        return self._valid(value) if isinstance(value, str) else value

    def _single(self, column: str | None) -> object:
        """The value, or the only one of a list."""
        value = self._decoded(column)
        if not isinstance(value, list) or len(value) > 1:
            return value
        return Row(self.path, self.where, {"": value[0]})._decoded("") if value else None

    def _unexpected(self, column: str, value: object, cure: str) -> UsageError:
        if isinstance(value, Media):
            cure = "Save each as a file and write its path, such as a.mp4, as text."
        elif isinstance(value, list):
            cure = "Write one text, or a row for each."
        elif isinstance(value, dict):
            cure = "Write its text alone, or rename the column."
        elif isinstance(value, bytes):
            cure = "Write the text without b and quotes."
        return UsageError(f"{self.location}: {column} is {describe(value)}; expected one text. {cure}")

    def _valid(self, text: str) -> str:
        return valid_text(text, self.location)


@dataclass(frozen=True)
class Table:
    """The rows of a file; at least one."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


Rows = tuple[tuple[str, ...], list[Row]]
"""Column names and rows of a file."""


def describe(value: object) -> str:
    """What a value is, for messages: "a list of 2"."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        keys = visible(", ".join(map(str, value))[:60])
        return f"an object with {len(value)} keys ({keys})" if value else "an empty object"
    if isinstance(value, Media):
        return "media or other bytes, which are not read"
    if isinstance(value, bytes):
        return "bytes as Python writes them"
    if isinstance(value, bool):
        return "true or false"
    shown = f"{value:.6g}" if isinstance(value, float) else visible(str(value)[:30])
    return f"the number {shown}" if isinstance(value, (int, float)) else f"a {type(value).__name__} ({shown})"


def cell_parts(column: str, value: object) -> Iterator[tuple[str, object]]:
    """A cell's value under its column, or the first values of a list or an object as "videos.0" and "meta.video"."""
    if isinstance(value, list):
        for position, item in enumerate(value[:_MOST_PARTS]):
            yield (column if len(value) == 1 else f"{column}.{position}"), item
    elif isinstance(value, dict):
        for key, item in islice(value.items(), _MOST_PARTS):
            yield f"{column}.{key}", item
    else:
        yield column, value


def column_name(raw: str, location: str) -> str:
    """A column's name on one line, without invisible characters, with control characters as escapes; may be empty.

    Raises:
        UsageError: not valid Unicode, a NUL character, or no name but a text.
    """
    if len(raw) > _LONGEST_NAME:
        raise UsageError(
            f"{location}: a column name of {len(raw):,} characters. Begin the file with the names of its columns."
        )
    return visible(_BREAKS.sub(" ", without_marks(valid_text(raw, location)).strip()))


def is_missing(text: str) -> bool:
    """Whether a text stands for nothing: empty, only spaces, or the NaN of pandas."""
    return text.strip() in ("", "nan", "NaN")


def says_missing(text: str) -> bool:
    """Whether a text is only a word for a missing value."""
    return text.strip().casefold() in MISSING_WORDS


def valid_text(text: str, location: str) -> str:
    """`text`, if it can be written as UTF-8 and passed to other programs.

    Raises:
        UsageError: half of a surrogate pair, or a NUL character.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise UsageError(
            f"{location}: {text[:60]!a} is not valid Unicode (half of a surrogate pair). Write the text again."
        ) from exc
    if "\0" in text:
        raise UsageError(f"{location}: {text[:60]!r} has a NUL character. Remove it.")
    return text


def _only(value: object) -> object:
    if not isinstance(value, list) or len(value) > 1:
        return value
    return value[0] if value else None


def _text_or_media(data: bytes) -> str | Media:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return Media()
    return Media() if "\0" in text else text
