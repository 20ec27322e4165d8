"""Recipes: TOML files and overrides, layered and read into a `Config`; unknown keys are errors."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from omninft_train.config import Config, check
from omninft_train.errors import UsageError

RECIPES = ("vanilla", "gdpo", "omninft-routing", "omninft-routing-surgery", "omninft")
BACKBONES = ("miniature", "ltx2")


def load(recipe: str | Path, backbone: str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a recipe.

    Layers, later ones win: defaults, the preset's file, the backbone's, the recipe, the overrides.

    Args:
        recipe: name of a shipped recipe, or a TOML file, which may name the one that it builds on by `recipe = "..."`.
        backbone: "miniature" or "ltx2"; None for the file's `backbone.kind`, or "miniature".
        overrides: "section.key=value", with TOML values; a bare word is a string.

    Raises:
        UsageError: an unknown key or value, or sizes that do not fit.
    """
    own = _own_file(recipe)
    named = own.pop("recipe", None)
    if not isinstance(named, str | None):
        raise UsageError(f"recipe = {named!r}: expected one of {', '.join(map(repr, RECIPES))}.")
    backbone = backbone or _kind(own) or "miniature"
    changes = [_parse_override(text) for text in overrides]
    layers = [_shipped(f"backbones/{backbone}.toml", BACKBONES, backbone)]
    if named is not None:
        layers.append(_shipped(f"{named}.toml", RECIPES, named))
    layers += [own, *changes]
    preset = next((layer["preset"] for layer in reversed(layers) if "preset" in layer), "release")
    if preset == "paper":
        layers.insert(0, tomllib.loads(_recipe_file("presets/paper.toml")))
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer)
    config: Config = build(Config, merged, "")
    if config.backbone.kind != backbone:
        raise UsageError(
            f"backbone.kind = '{config.backbone.kind}', but the recipe is laid out for '{backbone}': use --backbone."
        )
    check(config)
    return config


def _kind(own: Mapping[str, Any]) -> str | None:
    section = own.get("backbone")
    kind = section.get("kind") if isinstance(section, Mapping) else None
    return None if kind is None else str(kind)


def _own_file(recipe: str | Path) -> dict[str, Any]:
    path = Path(recipe)
    if path.suffix != ".toml":
        return {"recipe": str(recipe)}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a TOML file ({error}).") from error


def _shipped(name: str, known: Sequence[str], asked: str) -> dict[str, Any]:
    if asked not in known:
        raise UsageError(f"unknown recipe or backbone '{asked}'.{_suggestion(asked, known)} Known: {', '.join(known)}.")
    return tomllib.loads(_recipe_file(name))


def _recipe_file(name: str) -> str:
    return files("omninft_train").joinpath("recipes", *name.split("/")).read_text(encoding="utf-8")


def _parse_override(text: str) -> dict[str, Any]:
    key, separator, value = text.partition("=")
    if not separator:
        raise UsageError(f"--set {text}: expected section.key=value.")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def build(kind: Any, data: Any, where: str) -> Any:
    """A value of a type, a dataclass for one, from what TOML or JSON holds.

    Raises:
        UsageError: an unknown key, a missing one, or a value of another type; `where` is named.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, data, where)
    if origin in (typing.Union, types.UnionType):
        if data is None and type(None) in arguments:
            return None
        return build(next(option for option in arguments if option is not type(None)), data, where)
    if origin is Literal:
        if data not in arguments or isinstance(data, bool) != isinstance(arguments[0], bool):
            raise UsageError(f"{where} = {data!r}: expected one of {', '.join(map(repr, arguments))}.")
        return data
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            raise UsageError(f"{where} = {data!r}: expected a list.")
        inner = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else list(arguments)
        if len(inner) != len(data):
            raise UsageError(f"{where} = {data!r}: expected {len(inner)} values.")
        return tuple(build(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(inner, data, strict=True)))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, Mapping):
            raise UsageError(f"{where} = {data!r}: expected a table.")
        return {str(key): build(arguments[1], value, f"{where}.{key}") for key, value in data.items()}
    return _build_plain(kind, data, where)


def _build_plain(kind: Any, data: Any, where: str) -> Any:
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise UsageError(f"{where} = {data!r}: expected {kind.__name__}.")
    return data


def _build_dataclass(kind: Any, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise UsageError(f"{where or 'recipe'} = {data!r}: expected a table.")
    hints = typing.get_type_hints(kind)
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    for key in data:
        if key not in known:
            name = f"{where}.{key}" if where else key
            raise UsageError(f"unknown key '{name}'.{_suggestion(key, list(known))} Known: {', '.join(known)}.")
    missing = [
        name
        for name, entry in known.items()
        if name not in data and entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(f"{where or 'recipe'}: missing {', '.join(missing)}.")
    return kind(**{key: build(hints[key], value, f"{where}.{key}" if where else key) for key, value in data.items()})


def _suggestion(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def to_toml(config: Config) -> str:
    """The resolved configuration as a TOML file that `load` reads back."""
    lines: list[str] = []
    _write_table(dataclasses.asdict(config), "", lines)
    return "\n".join(lines).strip() + "\n"


def _write_table(table: Mapping[str, Any], name: str, lines: list[str]) -> None:
    nested = {k: v for k, v in table.items() if isinstance(v, Mapping)}
    arrays = {k: v for k, v in table.items() if isinstance(v, (list, tuple)) and v and isinstance(v[0], Mapping)}
    plain = {k: v for k, v in table.items() if k not in nested and k not in arrays and v is not None}
    if name:
        lines += ["", f"[{name}]"]
    lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in nested.items():
        if value:
            _write_table(value, f"{name}.{key}" if name else key, lines)
    for key, values in arrays.items():
        for value in values:
            lines += ["", f"[[{name}.{key}]]"]
            lines += [f"{inner} = {_toml_value(v)}" for inner, v in value.items() if v is not None]


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(part) for part in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    # Strings, numbers and booleans are written alike, but TOML has no pairs of surrogates and escapes one more.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
