"""Grid files: TOML in, `Grid` out; errors name file, line and key."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from avbench.config import Must, at_least, build, refuse
from avbench.errors import UsageError, near
from avbench.toml import Origin, merge, parse_toml, read_text
from omninft_train.ablation.grid import (
    Base,
    Cost,
    Count,
    Evaluation,
    Grid,
    Metric,
    Published,
    Table,
    Trainer,
    Variant,
)

SHIPPED = ("miniature", "crowd", "methods", "ltx2")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_DIFFERENT = Must(lambda seeds: bool(seeds) and len(set(map(repr, seeds))) == len(seeds), "that differ, such as [0, 1]")


@dataclass(frozen=True)
class _Budget:
    """What a budget may replace. Values are checked where they replace those of the grid."""

    about: Any = None
    base: Any = None
    benchmark: Any = None
    evaluate: Any = None
    jobs: Any = None
    seeds: Any = None
    tables: Any = None
    threads: Any = None
    train: Any = None
    train_prompts: Any = None


@dataclass(frozen=True)
class _File:
    """Keys of a grid file; see `Grid`."""

    name: str = ""
    title: str = "Ablation"
    about: str = ""
    benchmark: str = ""
    seeds: Annotated[tuple[Annotated[int, at_least(0)], ...], _DIFFERENT] = (0,)
    tables: tuple[str, ...] = ()
    jobs: Count = 1
    threads: Count = 1
    trainer: Trainer = field(default_factory=Trainer)
    base: Base = field(default_factory=Base)
    train: Mapping[str, Any] = field(default_factory=dict)
    train_prompts: str = ""
    evaluate: Evaluation = field(default_factory=Evaluation)
    variant: Mapping[str, Variant] = field(default_factory=dict)
    table: Mapping[str, Table] = field(default_factory=dict)
    metric: Mapping[str, Metric] = field(default_factory=dict)
    published: Published = field(default_factory=Published)
    cost: Cost = field(default_factory=Cost)
    gpus: Mapping[Literal["pretrain", "train", "evaluate", "generate", "score"], float] = field(default_factory=dict)
    budget: Mapping[str, _Budget] = field(default_factory=dict)


def load_grid(grid: str | Path, budget: str = "", *, all_tables: bool = False) -> Grid:
    """Read a grid.

    Args:
        grid: name of a shipped grid, or a TOML file.
        budget: table [budget.NAME] of the file, whose values replace those of the file.
        all_tables: with tables that the file describes and does not ask for.

    Raises:
        UsageError: no such grid or budget, no TOML, an unknown key, a wrong value; file and line are named.
    """
    name, text, folder = _find(str(grid))
    content, origin = parse_toml(text, name), Origin(name, text)
    whole = _checked(content, [origin])
    origins = {key: (origin, replace(origin, root=("budget", key))) for key in whole.budget}
    budgets = {key: _checked(merge(content, content["budget"][key]), origins[key]) for key in whole.budget}
    if budget and budget not in budgets:
        known = near(budget, budgets) if budgets else "The grid has none."
        raise UsageError(f"{name}: unknown budget {budget!r}. {known}")
    chosen = budgets[budget] if budget else whole
    variants = {key: _named(variant, key) for key, variant in chosen.variant.items()}
    tables = {key: _table(table, key, variants) for key, table in chosen.table.items()}
    names = tables if all_tables else dict.fromkeys(chosen.tables or tables)
    return Grid(
        name=chosen.name or Path(name).stem,
        title=chosen.title,
        about=chosen.about,
        source=name,
        folder=folder,
        budget=budget,
        benchmark=chosen.benchmark,
        seeds=chosen.seeds,
        jobs=chosen.jobs,
        threads=chosen.threads,
        trainer=replace(chosen.trainer, version=chosen.trainer.version or _trainer_version()),
        base=chosen.base,
        train=chosen.train,
        train_prompts=chosen.train_prompts,
        evaluation=chosen.evaluate,
        variants=variants,
        tables=tuple(tables[key] for key in names),
        metrics={key: _named(metric, key) for key, metric in chosen.metric.items()},
        published=chosen.published,
        cost=chosen.cost,
        gpus={str(kind): count for kind, count in chosen.gpus.items()},
        origins=origins[budget] if budget else (origin,),
    )


def _find(grid: str) -> tuple[str, str, Path]:
    """Name for messages, text, and the folder that paths start from."""
    if grid in SHIPPED:
        return (
            f"grids/{grid}.toml",
            (files("omninft_train.ablation") / "grids" / f"{grid}.toml").read_text("utf-8"),
            Path(),
        )
    path = Path(grid)
    if path.suffix != ".toml":
        raise UsageError(f"unknown grid {grid!r}. {near(grid, SHIPPED)} Or give a TOML file.")
    return str(path), read_text(path), path.resolve().parent


def _checked(content: Mapping[str, Any], where: Sequence[Origin]) -> _File:
    """The keys of a file, whose names go together."""
    file = build(_File, content, where)
    for kind in ("variant", "table"):
        for name in getattr(file, kind):
            if not _NAME.fullmatch(name):  # it becomes the name of folders and files
                raise refuse(where, (kind, name), f"{kind} {name!r}: a name has small letters, digits, '_' and '-'.")
    for name, table in file.table.items():
        _check_rows(file, name, table, where)
    for i, name in enumerate(file.tables):
        if name not in file.table:
            raise refuse(where, ("tables", i), f"tables: unknown table {name!r}. {near(name, file.table)}")
    if not file.table:
        raise refuse(where, (), "no table. Add [table.NAME] with rows.")
    return file


def _check_rows(file: _File, name: str, table: Table, where: Sequence[Origin]) -> None:
    for i, row in enumerate(table.rows):
        if row.variant not in file.variant:
            path = ("table", name, "rows", i, "variant")
            raise refuse(
                where, path, f"table.{name}: unknown variant {row.variant!r}. {near(row.variant, file.variant)}"
            )
    if not table.rows:
        raise refuse(where, ("table", name), f"table.{name} has no rows.")
    names = [row.variant for row in table.rows]
    if table.baseline and table.baseline not in names:
        reason = f"table.{name}: baseline {table.baseline!r} is no variant of its rows. {near(table.baseline, names)}"
        raise refuse(where, ("table", name, "baseline"), reason)


def _named(value: Any, name: str) -> Any:
    """A variant or metric with its name, which is its label too where it has none."""
    return replace(value, name=name, label=value.label or name)


def _table(table: Table, name: str, variants: Mapping[str, Variant]) -> Table:
    rows = tuple(replace(row, label=row.label or variants[row.variant].label) for row in table.rows)
    return replace(table, name=name, title=table.title or name, rows=rows)


def _trainer_version() -> str:
    """Version of the distribution that the trainer comes in, found without importing it."""
    try:
        return version("avbench")
    except PackageNotFoundError:
        return "unknown"
