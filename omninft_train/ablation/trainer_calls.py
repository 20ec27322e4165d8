"""The trainer's command line: its arguments, and what it says of a configuration before anything is trained.

avbench never imports the trainer. Whatever answers to the same commands can take its place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from avbench.errors import EnvironmentProblem, UsageError
from omninft_train.ablation.grid import Grid, Variant

# Places and machines, and what each run sets for itself: no part of what a variant is.
_APART = {"backbone": ("path", "cache"), "run": ("seed", "mirror"), "prompts": ("path",), "rewards": ("weights_dir",)}
_LONGEST_MESSAGE = 400


def overrides(grid: Grid, variant: Variant) -> list[str]:
    """--set arguments of a variant: those of the grid, then its own, which win."""
    found: dict[str, str] = {}
    for content in (grid.train, variant.overrides):
        found |= dict(_flat(content))
    return [argument for key, value in found.items() for argument in ("--set", f"{key}={value}")]


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, toml_value(value)


def toml_value(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return str(value)


def recipe_of(grid: Grid, variant: Variant) -> str:
    """The recipe as the trainer finds it: paths start from the grid's folder."""
    return str(grid.folder / variant.recipe) if variant.recipe.endswith(".toml") else variant.recipe


def filled(command: Sequence[str], places: Mapping[str, str], source: str) -> list[str]:
    """A command with its placeholders and environment variables filled in.

    Raises:
        UsageError: an environment variable is not set.
    """
    done = []
    for part in command:
        for name, value in places.items():
            part = part.replace("{" + name + "}", value)
        expanded = os.path.expandvars(part) if "$" in part else part
        if "$" in expanded and expanded == part:
            raise UsageError(f"{source}: {part!r} names an environment variable that is not set. Set it.")
        done.append(expanded)
    return done


def environment(threads: int) -> dict[str, str]:
    """Of a step: as many threads as the grid says, in each library that has its own, and output in UTF-8."""
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return {**os.environ, **counts, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def resolve(grid: Grid, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the trainer makes of each variant's configuration, all defaults included.

    Raises:
        UsageError: an unknown key or a size that does not fit; grid and variant are named.
        EnvironmentProblem: the trainer cannot be started.
    """
    trained = [grid.variants[name] for name in names if grid.variants[name].recipe]
    with ThreadPoolExecutor(max_workers=max(1, min(grid.jobs, 8))) as pool:
        found = list(pool.map(lambda variant: _resolve(grid, variant), trained))
    return {variant.name: config for variant, config in zip(trained, found, strict=True)}


def pretraining_name(grid: Grid) -> str:
    """Folder name of the pretraining that the grid asks for: a digest of everything about it.

    Empty for a trainer that cannot say so beforehand; then its version alone tells other pretrainings apart.
    """
    command = filled([*grid.trainer.command, *pretrain_arguments(grid)], {"python": sys.executable}, grid.source)
    done = call([*command, "--out", "base", "--dry-run"], grid.threads)
    lines = done.stdout.split() if done.returncode == 0 else []
    return Path(lines[-1]).name if lines else ""


def pretrain_arguments(grid: Grid) -> list[str]:
    """Arguments of the trainer for the grid's pretraining, but for its place."""
    steps = [] if grid.base.pretrain_steps is None else ["--steps", str(grid.base.pretrain_steps)]
    return ["pretrain", "--seed", str(grid.base.pretrain_seed), *steps]


def _resolve(grid: Grid, variant: Variant) -> dict[str, Any]:
    command = filled(grid.trainer.command, {"python": sys.executable}, grid.source)
    command += ["show-config", "--recipe", recipe_of(grid, variant), "--backbone", grid.trainer.backbone]
    done = call([*command, *overrides(grid, variant)], grid.threads)
    if done.returncode:
        raise UsageError(f"{grid.source} [variant.{variant.name}]: {message_of(done.stderr or done.stdout)}")
    try:
        config = tomllib.loads(done.stdout)
    except tomllib.TOMLDecodeError as error:
        raise EnvironmentProblem(
            f"{command[0]} show-config printed no TOML ({error}). Check [trainer] command."
        ) from error
    check_sizes(grid, variant, config)
    for section, keys in _APART.items():
        for key in keys:
            config.get(section, {}).pop(key, None)
    return config


def call(command: Sequence[str], threads: int) -> subprocess.CompletedProcess[str]:
    """Run a short command and keep what it prints.

    Raises:
        EnvironmentProblem: it cannot be started.
    """
    try:
        return subprocess.run(  # noqa: S603 - the grid's own command, without a shell
            list(command),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=environment(threads),
            check=False,
        )
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot start {command[0]}: {error.strerror or error}. Check [trainer] command."
        ) from error


def message_of(text: str) -> str:
    """The line in which a command says what was wrong: its last one, without its own name."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" │╭╰─╮╯")]
    last = lines[-1] if lines else "no message"
    last = last.strip("│ ").removeprefix("omninft-train: ").removeprefix("avbench: ")
    return last if len(last) <= _LONGEST_MESSAGE else f"{last[:_LONGEST_MESSAGE]} ..."


def check_sizes(grid: Grid, variant: Variant, config: Mapping[str, Any]) -> None:
    """Whether the rollouts of a step can be divided among processes.

    Raises:
        UsageError: with the equation.
    """
    prompts, processes = config.get("prompts", {}), grid.trainer.processes
    groups, size = prompts.get("groups"), prompts.get("group_size")
    if isinstance(groups, int) and isinstance(size, int) and groups * size % processes:
        raise UsageError(
            f"{grid.source} [variant.{variant.name}]: prompts.groups {groups} x prompts.group_size {size} = "
            f"{groups * size} rollouts is not divisible by [trainer] processes {processes}. Change one of the three."
        )


def rollouts(config: Mapping[str, Any]) -> int:
    """Rollouts of a whole run."""
    prompts, steps = config.get("prompts", {}), config.get("run", {}).get("steps", 1)
    return int(steps) * int(prompts.get("groups", 1)) * int(prompts.get("group_size", 1))
