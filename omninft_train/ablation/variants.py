"""Variants as the trainer sees them: recipe, settings, and the configuration that they resolve to."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avbench.config import key_paths
from avbench.errors import UsageError
from avbench.toml import ConfigError, KeyPath, toml_value
from omninft_train import recipe
from omninft_train.ablation.grid import Grid, Variant
from omninft_train.config import MINIATURES
from omninft_train.config_checks import check

# Paths and machines, and what each run sets for itself: no part of what a variant is.
_APART = {"backbone": ("path", "cache"), "run": ("seed", "mirror"), "prompts": ("path",), "rewards": ("weights_dir",)}


def settings(grid: Grid, variant: Variant) -> list[str]:
    """Settings of a variant, as `--set` takes them: those of the grid, then its own, which win."""
    flat: dict[str, str] = {}
    for content in (grid.train, variant.overrides):
        flat |= dict(_flat(content))
    return [f"{key}={value}" for key, value in flat.items()]


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, toml_value(value)


def recipe_of(grid: Grid, variant: Variant) -> str:
    """The recipe as the trainer finds it: paths start from the grid's folder."""
    return str(grid.folder / variant.recipe) if variant.recipe.endswith(".toml") else variant.recipe


def resolve(grid: Grid, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The configuration of each variant that is trained, all defaults included.

    Raises:
        UsageError: an unknown key or a size that does not fit; grid and variant are named.
    """
    trained = [grid.variants[name] for name in names if grid.variants[name].recipe]
    return {variant.name: _resolve(grid, variant) for variant in trained}


def _resolve(grid: Grid, variant: Variant) -> dict[str, Any]:
    try:
        config = recipe.load(recipe_of(grid, variant), grid.trainer.backbone, settings(grid, variant))
        check(config, grid.trainer.processes)
    except UsageError as error:
        reason = error.reason if isinstance(error, ConfigError) else str(error)
        raise grid.refuse(f"[variant.{variant.name}]: {reason}", *_paths(variant, error)) from error
    # As its file has it, without empty tables and nulls: the digests of steps are over this form.
    content = tomllib.loads(recipe.to_toml(config))
    for section, keys in _APART.items():
        for key in keys:
            content.get(section, {}).pop(key, None)
    return content


def _paths(variant: Variant, error: UsageError) -> Iterator[KeyPath]:
    """Where a grid may set what is wrong with a variant's configuration, the most likely first."""
    wrong = [error.path] if isinstance(error, ConfigError) else key_paths(error)
    for whole in [path[:length] for path in wrong for length in range(len(path), 0, -1)]:
        for key in (whole, (".".join(map(str, whole)),)):
            yield ("variant", variant.name, "set", *key)
            yield ("train", *key)
    yield ("variant", variant.name, "recipe")
    yield ("variant", variant.name)


def pretraining(grid: Grid) -> str:
    """Name of the folder of the pretraining that the grid asks for: a digest of everything about it; "" for none.

    Raises:
        UsageError: neither a model is given, nor a miniature pretrained.
    """
    from omninft_train.miniature.pretrain import folder_of, shipped

    if grid.base.path:
        return ""
    if grid.trainer.backbone not in MINIATURES:
        raise grid.refuse("[base] has no path; only miniatures are pretrained here.", ("base",), ("trainer",))
    options = replace(shipped(grid.trainer.backbone), seed=grid.base.pretrain_seed)
    if grid.base.pretrain_steps is not None:
        options = replace(options, steps=grid.base.pretrain_steps)
    return folder_of(Path(), options).name


def pretrain_arguments(grid: Grid) -> list[str]:
    """Arguments of the trainer for the grid's pretraining, but for its folder."""
    steps = [] if grid.base.pretrain_steps is None else ["--steps", str(grid.base.pretrain_steps)]
    world = [] if grid.trainer.backbone == "miniature" else ["--world", grid.trainer.backbone]
    return ["pretrain", "--seed", str(grid.base.pretrain_seed), *world, *steps]


def rollouts(config: Mapping[str, Any]) -> int:
    """Rollouts of a whole run."""
    prompts, steps = config["prompts"], config["run"]["steps"]
    return int(steps) * int(prompts["groups"]) * int(prompts["group_size"])


def training_arguments(grid: Grid, variant: Variant, sets: Mapping[str, Any]) -> list[str]:
    """Arguments of the trainer for a run of a variant; `sets` are settings of the run itself."""
    run_settings = [f"{key}={json.dumps(value)}" for key, value in sets.items()]
    arguments = [part for text in (*settings(grid, variant), *run_settings) for part in ("--set", text)]
    return ["--recipe", recipe_of(grid, variant), "--backbone", grid.trainer.backbone, *arguments]
