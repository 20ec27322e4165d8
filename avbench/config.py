"""Read TOML files into dataclasses; errors are one line with file, line, key and the expected type.

The type of a field says what is expected: `str`, `int`, `float`, `bool`, `Path`, `Literal`, tuples, mappings, other
dataclasses, `X | None`, and `Annotated[X, Must(...)]` for a condition. `key` gives a field another name in the file.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from avbench.errors import SettingError, UsageError, near
from avbench.toml import ConfigError, KeyPath, Origin, parse_toml, read_text, toml_key, toml_value

T = TypeVar("T")
_PLAIN: Mapping[Any, tuple[tuple[type, ...], str, str]] = {
    str: ((str,), "a text", "texts"),
    Path: ((str,), "the path of a file", "paths"),
    int: ((int,), "a whole number", "whole numbers"),
    float: ((int, float), "a number", "numbers"),
    bool: ((bool,), "true or false", "true and false"),
}
"""Types of a value in the file, and words for one and for several."""
_LONGEST = 80  # characters of a value in a message
_KEY = "key in the file"


@dataclass(frozen=True)
class Must:
    """A condition on a value, for `Annotated`. `words` follow what the type expects: "a number" + "from 0 to 1"."""

    holds: Callable[[Any], bool]
    words: str


def at_least(low: float) -> Must:
    """Numbers from `low` on."""
    return Must(lambda value: low <= value < float("inf"), f"of at least {low:g}")


def between(low: float, high: float) -> Must:
    """Numbers from `low` to `high`."""
    return Must(lambda value: low <= value <= high, f"from {low:g} to {high:g}")


NOT_EMPTY = Must(bool, "that is not empty")


def key(name: str | None, **options: Any) -> Any:
    """A field that is called `name` in the file; None for one that no file can set."""
    return dataclasses.field(**options, metadata={_KEY: name})


def load(kind: type[T], path: Path) -> T:
    """Read a TOML file into a dataclass.

    Raises:
        UsageError: it cannot be read, is no TOML, or does not fit.
    """
    text = read_text(path)
    return build(kind, parse_toml(text, str(path)), Origin(str(path), text))


def build(kind: type[T], data: Any, where: Origin | Sequence[Origin], at: KeyPath = ()) -> T:
    """A value of a type, a dataclass for one, from what TOML or JSON holds.

    Args:
        kind: the type; see the top of this file.
        data: the value.
        where: what it was read from; of several layers, the last one that has a key is named in messages.
        at: where in it; empty for the whole.

    Raises:
        ConfigError: an unknown key, a missing one, or a value that does not fit.
    """
    value: T = _Builder(_listed(where)).value(kind, data, at)
    return value


def refuse(where: Origin | Sequence[Origin], path: KeyPath, reason: str) -> ConfigError:
    """The error to raise for a key that does not fit for another reason than its type."""
    return _Builder(_listed(where)).error(path, reason)


@contextmanager
def located(where: Origin | Sequence[Origin]) -> Iterator[None]:
    """Errors of values that do not go together, raised inside, name the file and the line that was read last.

    Raises:
        ConfigError: for each `SettingError`.
    """
    try:
        yield
    except SettingError as error:
        origins, paths = _listed(where), key_paths(error)
        last = next(
            (path for origin in reversed(origins) for path in paths if origin.line(path)), paths[0] if paths else ()
        )
        raise refuse(origins, last, str(error)) from error


def key_paths(error: Exception) -> list[KeyPath]:
    """The keys that a `SettingError` names, as paths; none of other errors."""
    keys = error.keys if isinstance(error, SettingError) else ()
    return [tuple(key.split(".")) if isinstance(key, str) else key for key in keys]


def _listed(where: Origin | Sequence[Origin]) -> Sequence[Origin]:
    return [where] if isinstance(where, Origin) else where


class _Builder:
    def __init__(self, origins: Sequence[Origin]) -> None:
        self._origins = origins

    def error(self, path: KeyPath, reason: str) -> ConfigError:
        """Names the last source that sets the key, or the list that it is in, or else the table around it."""
        # A layer replaces lists as a whole, and tables key by key.
        to_list = next((i for i, part in enumerate(path) if isinstance(part, int)), len(path))
        owner = [origin for origin in self._origins if origin.line(path[:to_list])][-1:]
        for end in range(len(path), 0, -1):
            for origin in reversed(owner or self._origins):
                if line := origin.line(path[:end]):
                    return ConfigError(origin.name, line if origin.numbered else 0, reason, path)
        return ConfigError(self._origins[-1].name, 0, reason, path)

    def value(self, kind: Any, data: Any, path: KeyPath) -> Any:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            inner = next(option for option in arguments if option is not type(None))
            return None if data is None else self.value(inner, data, path)
        if origin is typing.Annotated:
            if not (_fits(arguments[0], data) and all(must.holds(data) for must in arguments[1:])):
                raise self._unexpected(kind, data, path)
            return self.value(arguments[0], data, path)
        if not _fits(kind, data):
            raise self._unexpected(kind, data, path)
        if dataclasses.is_dataclass(kind):
            return self._dataclass(kind, data, path)
        if origin is tuple:
            return self._tuple(arguments, data, path)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self._mapping(arguments, data, path)
        return kind(data) if kind in _PLAIN else data

    def _tuple(self, arguments: Sequence[Any], data: Sequence[Any], path: KeyPath) -> tuple[Any, ...]:
        kinds = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else list(arguments)
        return tuple(self.value(kind, item, (*path, i)) for i, (kind, item) in enumerate(zip(kinds, data, strict=True)))

    def _mapping(self, arguments: Sequence[Any], data: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
        names, inner = arguments
        if typing.get_origin(names) is Literal:
            self._refuse_unknown(data, typing.get_args(names), path)
        return {str(name): self.value(inner, value, (*path, str(name))) for name, value in data.items()}

    def _dataclass(self, kind: Any, data: Mapping[str, Any], path: KeyPath) -> Any:
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = {f.metadata.get(_KEY, f.name): f for f in dataclasses.fields(kind)}
        fields.pop(None, None)
        self._refuse_unknown(data, fields, path)
        missing = [name for name, f in fields.items() if name not in data and _has_no_default(f)]
        if missing:
            raise self.error(path, f"missing {', '.join(shown_path((*path, name)) for name in missing)}.")
        values = {fields[name].name: self.value(hints[fields[name].name], v, (*path, name)) for name, v in data.items()}
        try:
            return kind(**values)
        except UsageError as error:  # of the dataclass itself: its values do not go together
            raise self.error(path, f"{shown_path(path)}: {error}".removeprefix(": ")) from error

    def _refuse_unknown(self, data: Mapping[str, Any], known: Mapping[str, Any] | Sequence[str], path: KeyPath) -> None:
        for name in data:
            if name not in known:
                raise self.error((*path, name), f"unknown key '{shown_path((*path, name))}'. {near(name, known)}")

    def _unexpected(self, kind: Any, data: Any, path: KeyPath) -> ConfigError:
        what = f"{shown_path(path)} = {shown_value(data)}: " if path else ""
        return self.error(path, f"{what}expected {expected(kind)}.")


def _fits(kind: Any, data: Any) -> bool:
    """Whether a value is of a type, but for what it holds."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return any(data == option and type(data) is type(option) for option in arguments)
    if origin is tuple:
        many = arguments[-1] is Ellipsis
        return isinstance(data, (list, tuple)) and (many or len(data) == len(arguments))
    if kind not in _PLAIN:
        return kind is Any or isinstance(data, Mapping)
    if kind is float and isinstance(data, int) and abs(data) > sys.float_info.max:
        return False
    return isinstance(data, _PLAIN[kind][0]) and (kind is bool or not isinstance(data, bool))


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def expected(kind: Any) -> str:
    """The expected values of a type, in words."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return " ".join([expected(arguments[0]), *(must.words for must in arguments[1:])])
    if origin in (typing.Union, types.UnionType):
        return expected(next(option for option in arguments if option is not type(None)))
    if origin is Literal:
        return f"one of {', '.join(map(toml_value, arguments))}"
    if origin is tuple:
        many = arguments[-1] is Ellipsis
        return f"a list of {_many(arguments[0])}" if many else f"a list of {len(arguments)} {_many(arguments[0])}"
    return _PLAIN[kind][1] if kind in _PLAIN else "a table"


def _many(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if kind in _PLAIN:
        return _PLAIN[kind][2]
    return "values" if typing.get_origin(kind) is Literal else "tables"


def shown_path(path: KeyPath) -> str:
    """A path as one writes it, such as `rewards.reward[0].route`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{toml_key(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def shown_value(value: Any) -> str:
    """A value for a message, as TOML writes it, cut where it is long."""
    try:
        text = repr(value) if value is None else toml_value(value)
    except RecursionError:
        text = "[...]"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
