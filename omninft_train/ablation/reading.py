"""Grid files: TOML in, `Grid` out; an unknown key, a wrong kind or an impossible size is an error with its place."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from avbench.errors import UsageError
from omninft_train.ablation.grid import Base, Cost, Evaluation, Grid, Metric, Published, Row, Table, Trainer, Variant
from omninft_train.ablation.keys import BUDGETED, NAME, SECTIONS, TOP, Place, check_keys, count, merge, near, texts

SHIPPED = ("miniature", "ltx2")


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
    place = Place(name, text)
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not a TOML file: {error}. Correct it there.") from error
    check_keys(content, TOP, place, "")
    content = _apply_budget(content, budget, place)
    for section, keys in SECTIONS.items():
        if "*" not in section and section != "rows":
            check_keys(content.get(section, {}), keys, place, f"[{section}] ")
    variants = {key: _variant(key, table, place) for key, table in _named(content, "variant", place).items()}
    tables = {key: _table(key, table, place, variants) for key, table in _named(content, "table", place).items()}
    metrics = {key: _metric(key, table, place) for key, table in _named(content, "metric", place).items()}
    own = content.get("trainer", {})
    return Grid(
        name=str(content.get("name") or Path(name).stem),
        title=content.get("title", "Ablation"),
        about=content.get("about", ""),
        source=name,
        folder=folder,
        budget=budget,
        benchmark=content.get("benchmark", ""),
        seeds=_seeds(content, place),
        jobs=count(content, "jobs", 1, place),
        threads=count(content, "threads", 1, place),
        trainer=_trainer(own, place),
        base=_base(content, place),
        train=content.get("train", {}),
        train_prompts=content.get("train_prompts", ""),
        evaluation=_evaluation(content.get("evaluate", {}), place),
        variants=variants,
        tables=tuple(tables.values()) if all_tables else _chosen(content, tables, place),
        metrics=metrics,
        published=Published(**content.get("published", {})),
        cost=Cost(**content.get("cost", {})),
        gpus={kind: float(count) for kind, count in content.get("gpus", {}).items()},
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
    try:
        return str(path), path.read_text(encoding="utf-8"), path.resolve().parent
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 at byte {error.start}. Save it as UTF-8.") from error


def _apply_budget(content: dict[str, Any], budget: str, place: Place) -> dict[str, Any]:
    budgets = content.get("budget", {})
    for name, table in budgets.items():
        if not isinstance(table, dict):
            raise UsageError(f"{place.at(name)}: [budget.{name}] must be a table, got {table!r}.")
        check_keys(table, {key: TOP[key] for key in BUDGETED}, place, f"[budget.{name}] ")
        for section in ("base", "evaluate"):
            check_keys(table.get(section, {}), SECTIONS[section], place, f"[budget.{name}.{section}] ")
    if not budget:
        return content
    if budget not in budgets:
        known = near(budget, list(budgets)) if budgets else "The grid has none."
        raise UsageError(f"{place.name}: unknown budget {budget!r}. {known}")
    return merge(content, budgets[budget])


def _named(content: Mapping[str, Any], kind: str, place: Place) -> dict[str, dict[str, Any]]:
    """The tables [kind.NAME] with keys checked."""
    found = content.get(kind, {})
    for name, table in found.items():
        if not isinstance(table, dict):
            raise UsageError(f"{place.at(name)}: [{kind}.{name}] must be a table, got {table!r}.")
        if kind != "metric" and not NAME.fullmatch(name):
            raise UsageError(f"{place.at(name)}: {kind} {name!r}: a name has small letters, digits, '_' and '-'.")
        check_keys(table, SECTIONS[f"{kind}.*"], place, f"[{kind}.{name}] ")
    return dict(found)


def _variant(name: str, table: Mapping[str, Any], place: Place) -> Variant:
    if "recipe" not in table and table.get("set"):
        raise UsageError(f"{place.at(name)}: [variant.{name}] has 'set' and no recipe: the base policy is not trained.")
    return Variant(
        name, table.get("label", name), table.get("recipe", ""), table.get("set", {}), table.get("about", "")
    )


def _table(name: str, table: Mapping[str, Any], place: Place, variants: Mapping[str, Variant]) -> Table:
    where = f"[table.{name}] "
    rows = []
    for row in table.get("rows", []):
        if not isinstance(row, dict) or "variant" not in row:
            raise UsageError(f"{place.at(name)}: {where}rows must be tables with a variant, got {row!r}.")
        check_keys(row, SECTIONS["rows"], place, where + "rows: ")
        if row["variant"] not in variants:
            known = near(row["variant"], list(variants))
            raise UsageError(f"{place.at(row['variant'])}: {where}unknown variant {row['variant']!r}. {known}")
        rows.append(
            Row(
                row["variant"],
                row.get("label", variants[row["variant"]].label),
                row.get("group", ""),
                row.get("published", ""),
            )
        )
    baseline = table.get("baseline", "")
    if not rows:
        raise UsageError(f"{place.at(name)}: {where}has no rows.")
    if baseline and baseline not in {row.variant for row in rows}:
        known = near(baseline, [row.variant for row in rows])
        raise UsageError(f"{place.at(baseline)}: {where}baseline {baseline!r} is no variant of its rows. {known}")
    return Table(
        name, table.get("title", name), tuple(rows), table.get("about", ""), baseline,
        texts(table, "columns", place), table.get("published", ""),
    )  # fmt: skip


def _metric(name: str, table: Mapping[str, Any], place: Place) -> Metric:
    direction = table.get("direction", "none")
    if direction not in ("higher", "lower", "none"):
        raise UsageError(
            f"{place.at(name)}: [metric.{name}] direction must be higher, lower or none, got {direction!r}."
        )
    facts = {key: table[key] for key in ("unit", "about", "published") if key in table}
    return Metric(name, table.get("label", name), direction, **facts)


def _chosen(content: Mapping[str, Any], tables: Mapping[str, Table], place: Place) -> tuple[Table, ...]:
    names = texts(content, "tables", place) or tuple(tables)
    for name in names:
        if name not in tables:
            raise UsageError(f"{place.at('tables')}: tables: unknown table {name!r}. {near(name, list(tables))}")
    if not names:
        raise UsageError(f"{place.name}: no table. Add [table.NAME] with rows.")
    return tuple(tables[name] for name in dict.fromkeys(names))


def _seeds(content: Mapping[str, Any], place: Place) -> tuple[int, ...]:
    seeds = content.get("seeds", [0])
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise UsageError(
            f"{place.at('seeds')}: seeds must be different whole numbers such as [0, 1, 2], got {seeds!r}."
        )
    return tuple(seeds)


def _trainer(table: Mapping[str, Any], place: Place) -> Trainer:
    facts: dict[str, Any] = {"backbone": table["backbone"]} if "backbone" in table else {}
    for key in ("command", "launch"):
        if key in table:
            facts[key] = texts(table, key, place)
    if facts.get("command") == ():
        raise UsageError(f"{place.at('command')}: [trainer] command is empty.")
    return Trainer(
        **facts, processes=count(table, "processes", 1, place), version=table.get("version") or _trainer_version()
    )


def _trainer_version() -> str:
    """Version of the distribution that the trainer comes in, found without importing it."""
    try:
        return version("avbench")
    except PackageNotFoundError:
        return "unknown"


def _base(content: Mapping[str, Any], place: Place) -> Base:
    table = content.get("base", {})
    if table.get("path") and "pretrain_steps" in table:
        raise UsageError(f"{place.at('pretrain_steps')}: [base] has a path and pretrain_steps. Keep one of them.")
    steps = count(table, "pretrain_steps", 1, place) if "pretrain_steps" in table else None
    return Base(table.get("path", ""), steps, table.get("pretrain_seed", 0))


def _evaluation(table: Mapping[str, Any], place: Place) -> Evaluation:
    judge = table.get("judge", "trainer")
    if judge not in ("trainer", "avbench"):
        raise UsageError(f"{place.at('judge')}: [evaluate] judge must be trainer or avbench, got {judge!r}.")
    counts = {key: count(table, key, 1, place) for key in ("samples", "steps", "limit", "parts") if key in table}
    lists = {key: texts(table, key, place) for key in ("metrics", "rewarded", "options")}
    if judge == "avbench" and not (lists["metrics"] and table.get("prompts")):
        raise UsageError(f'{place.at("evaluate")}: [evaluate] with judge = "avbench" needs prompts and metrics.')
    if judge == "trainer" and (counts.get("parts", 1) > 1 or lists["metrics"]):
        raise UsageError(f'{place.at("evaluate")}: [evaluate] parts and metrics need judge = "avbench".')
    facts: dict[str, Any] = {**counts, **lists}
    return Evaluation(judge, prompts=table.get("prompts", ""), seed=table.get("seed", 0), **facts)
