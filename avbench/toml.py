"""Parse TOML with one-line errors and the line of each key, and write values as TOML."""

from __future__ import annotations

import contextlib
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from avbench.errors import UsageError

KeyPath = tuple[str | int, ...]
"""Keys from the top of a file to a value; numbers are positions in lists."""
_SPACE = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')[ \t]*""")
_TEXT = re.compile(r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|'[^']*\'''', re.DOTALL)
_OTHER = re.compile(r"[^,\]}\n#]*")


class ConfigError(UsageError):
    """A value or key that does not fit. The message has `file`, `line` (0 for none) and `reason`; `path` is the key."""

    def __init__(self, file: str, line: int, reason: str, path: KeyPath = ()) -> None:
        super().__init__(": ".join(part for part in (f"{file} line {line}" if line else file, reason) if part))
        self.file, self.line, self.reason, self.path = file, line, reason, path

    def __reduce__(self) -> tuple[Any, ...]:
        return ConfigError, (self.file, self.line, self.reason, self.path)  # between processes


@dataclass(frozen=True)
class Origin:
    """Source of values: a file or an option, for messages.

    Attributes:
        name: of the file.
        text: its content; empty for what has no lines.
        numbered: False for something of one line, such as an option.
        root: paths start at this table of the file.
    """

    name: str
    text: str = ""
    numbered: bool = True
    root: KeyPath = ()

    def line(self, path: KeyPath) -> int:
        """The line in which the key at `path` is set; 0 where none is."""
        return self._lines.get(self.root + path, 0)

    @cached_property
    def _lines(self) -> Mapping[KeyPath, int]:
        scanner = _Scanner(self.text)
        with contextlib.suppress(RecursionError):  # lines are lost, not the message
            scanner.file()
        return scanner.lines


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """The content of a TOML text.

    Raises:
        ConfigError: it is none; with line and column.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(name, 0, f"not a TOML file: {error}. Correct it there.") from error


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        UsageError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), 0, f"not a TOML file: not UTF-8 at byte {error.start}.") from error


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `change`, table by table."""
    merged = dict(base)
    for key, value in change.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if nested else value
    return merged


def toml_value(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_key(key)} = {toml_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, (str, bool)):
        # Written alike in JSON, but TOML has no pairs of surrogates and escapes one more.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else str(value)


def toml_key(key: str) -> str:
    """A key as TOML, in quotes where it needs them."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


class _Scanner:
    """Notes the line of each key of a text that tomllib has read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._lists: dict[KeyPath, int] = {}  # position of the last table of each [[list]]
        self._line, self._counted = 1, 0

    def file(self) -> None:
        """Scan the whole text."""
        table: KeyPath = ()
        while self._skip() < len(self.text):
            start = self.at
            if self.text.startswith("[[", start):
                table = self._header(2, in_list=True)
            elif self.text[start] == "[":
                table = self._header(1, in_list=False)
            else:
                self._statement(table)
            if self.at == start:  # no TOML after all
                return

    def _skip(self) -> int:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def _header(self, brackets: int, *, in_list: bool) -> KeyPath:
        start = self.at
        self.at += brackets
        keys = self._keys()
        path: KeyPath = ()
        for number, key in enumerate(keys):
            path += (key,)
            if in_list and number == len(keys) - 1:
                self._lists[path] = self._lists.get(path, -1) + 1
            self._note(path, start)
            if path in self._lists:
                path += (self._lists[path],)
        self._note(path, start)
        self.at += brackets
        return path

    def _statement(self, table: KeyPath) -> None:
        start, path = self.at, table
        for key in self._keys():
            path += (key,)
            self._note(path, start)
        self.at += 1  # the equals sign
        self._value(path)

    def _keys(self) -> list[str]:
        """Parts of a dotted key; stands behind it afterwards."""
        keys = []
        while match := _KEY.match(self.text, self.at):
            self.at = match.end()
            part = match[1]
            keys.append(next(iter(tomllib.loads(f"{part} = 0"))) if part[0] in "\"'" else part)
            if self.text[self.at : self.at + 1] != ".":
                break
            self.at += 1
        return keys

    def _value(self, path: KeyPath) -> None:
        start = self._skip()
        first = self.text[start : start + 1]
        if first == "[":
            self.at, number = start + 1, 0
            while self._skip() < len(self.text) and self.text[self.at] != "]":
                self._note((*path, number), self.at)
                self._value((*path, number))
                number += 1
            self.at += 1
        elif first == "{":
            self.at = start + 1
            while self._skip() < len(self.text) and self.text[self.at] != "}":
                self._statement(path)
            self.at += 1
        elif match := (_TEXT if first in ('"', "'") else _OTHER).match(self.text, start):
            self.at = match.end()

    def _note(self, path: KeyPath, position: int) -> None:
        self._line += self.text.count("\n", self._counted, position)  # positions never go back
        self._counted = position
        self.lines.setdefault(path, self._line)
