"""Recipes: TOML files and overrides, layered and read into a `Config`; unknown keys are errors."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from avbench.config import build, located, refuse
from avbench.toml import Origin, merge, parse_toml, read_text, toml_key, toml_value
from omninft_train.config import Config
from omninft_train.config_checks import check
from omninft_train.errors import SettingError, UsageError, near
from omninft_train.recipes import BACKBONES, RECIPES, VARIANTS


@dataclass(frozen=True)
class Layer:
    """Values, and where they were read from."""

    content: dict[str, Any]
    origin: Origin


@dataclass(frozen=True)
class Recipe:
    """A configuration, and the files and overrides that it was read from, the last of which wins.

    `backbone_named`: by the caller or by the recipe; where neither does, it is the miniature.
    """

    config: Config
    origins: Sequence[Origin]
    backbone_named: bool = True


def load(recipe: str | Path, backbone: str | None = None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a recipe; see `read`."""
    return read(recipe, backbone, overrides).config


def read(recipe: str | Path, backbone: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Layers, later ones win: defaults, the preset's file, the backbone's, the recipe, the overrides.

    Args:
        recipe: name of a shipped recipe, or a TOML file, which may name the one that it builds on by `recipe = "..."`.
        backbone: one of `BACKBONES` or `VARIANTS`; None for the file's `backbone.kind`, or "miniature".
        overrides: "section.key=value", with TOML values; a bare word is a string.

    Raises:
        UsageError: an unknown key or value, or sizes that do not fit; file and line are named.
    """
    user = _user_file(recipe)
    named = user.content.pop("recipe", None)
    if not isinstance(named, str | None):
        raise refuse(user.origin, ("recipe",), f"recipe = {toml_value(named)}: expected one of {', '.join(RECIPES)}.")
    kind = user.content.get("backbone", {})
    asked = None if backbone else (str(kind["kind"]) if isinstance(kind, Mapping) and "kind" in kind else None)
    is_named = bool(backbone or asked)
    backbone = backbone or asked or "miniature"
    changes = [parse_override(text) for text in overrides]
    with located(user.origin) if asked else nullcontext():
        base = _kind(backbone)
    layers = [_recipe_file(f"backbones/{name}.toml") for name in dict.fromkeys((base, backbone))]
    if named is not None:
        layers.append(_shipped(named, user.origin))
    layers += [user, *changes]
    preset = next((layer.content["preset"] for layer in reversed(layers) if "preset" in layer.content), "release")
    if preset in ("paper", "release-exact"):
        layers.insert(0, _recipe_file(f"presets/{preset}.toml"))
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = merge(merged, layer.content)
    origins = [layer.origin for layer in layers]
    config = build(Config, merged, origins)
    if config.backbone.kind != base:
        reason = (
            f"backbone.kind = '{config.backbone.kind}', but the recipe is laid out for '{backbone}'. Name the backbone "
            "(--backbone)."
        )
        raise refuse(origins, ("backbone", "kind"), reason)
    with located(origins):
        check(config)
    return Recipe(config, origins, is_named)


def _kind(backbone: str) -> str:
    """The backbone that a name stands for, or that a variant builds on."""
    if backbone not in (*BACKBONES, *VARIANTS):
        reason = f"unknown recipe or backbone '{backbone}'. {near(backbone, (*BACKBONES, *VARIANTS))}"
        raise SettingError(reason, "backbone.kind")
    return next(kind for kind in BACKBONES if backbone.startswith(kind))


def _user_file(recipe: str | Path) -> Layer:
    path = Path(recipe)
    if path.suffix != ".toml":
        return Layer({"recipe": str(recipe)}, Origin(str(recipe)))
    text = read_text(path)
    return Layer(parse_toml(text, str(path)), Origin(str(path), text))


def _shipped(name: str, origin: Origin) -> Layer:
    if name not in RECIPES:
        reason = f"unknown recipe or backbone '{name}'. {near(name, RECIPES)}"
        raise refuse(origin, ("recipe",), reason) if origin.text else UsageError(reason)
    return _recipe_file(f"{name}.toml")


def _recipe_file(name: str) -> Layer:
    text = files("omninft_train").joinpath("recipes", *name.split("/")).read_text(encoding="utf-8")
    return Layer(tomllib.loads(text), Origin(f"recipes/{name}", text))


def parse_override(text: str) -> Layer:
    """What "section.key=value" sets; a value that is no TOML is a bare word.

    Raises:
        UsageError: no equals sign.
    """
    key, separator, value = text.partition("=")
    if not separator:
        raise UsageError(f"--set {text}: expected section.key=value.")
    try:
        content = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # a bare word
        content = value
    parts = key.strip().split(".")
    for part in reversed(parts):
        content = {part: content}
    origin = Origin(f"--set {text}", f"{'.'.join(map(toml_key, parts))} = {{}}", numbered=False)
    return Layer(dict(content), origin)


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
    lines += [f"{toml_key(key)} = {toml_value(value)}" for key, value in plain.items()]
    for key, value in nested.items():
        if value:
            _write_table(value, f"{name}.{key}" if name else key, lines)
    for key, values in arrays.items():
        for value in values:
            lines += ["", f"[[{name}.{key}]]"]
            lines += [f"{inner} = {toml_value(v)}" for inner, v in value.items() if v is not None]
