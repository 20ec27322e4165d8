"""Results of an ablation as rows of a leaderboards folder's measured/."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from avbench.errors import UsageError
from avbench.leaderboard import MeasuredRow, append_measured, read_folder
from omninft_train.ablation.collect import Results
from omninft_train.ablation.compare import Summary
from omninft_train.ablation.grid import Grid, Metric
from omninft_train.ablation.outcome import Outcome


def record(outcome: Outcome, leaderboards: Path, command: str, machine: str = "") -> int:
    """Add one row for each variant of the tables and each metric.

    Args:
        outcome: of a complete ablation.
        leaderboards: folder with measured/.
        command: that made it.
        machine: in words; empty for the platform.

    Returns:
        How many rows were new.

    Raises:
        UsageError: the grid names no benchmark, the networks were random, or the folder has a problem.
    """
    return append_measured(leaderboards, measured(outcome, command, machine), f"ablate-{outcome.grid.name}.csv")


def check_record(grid: Grid, leaderboards: Path) -> None:
    """Whether results could be added, before they are made.

    Raises:
        UsageError: the grid names no benchmark, or the folder has a problem.
    """
    if not grid.benchmark:
        raise grid.refuse("benchmark is empty. Rows of leaderboards say which prompts they are of.", ("benchmark",))
    problems = read_folder(leaderboards).problems
    if problems:
        raise UsageError(f"{leaderboards}/{problems[0]} Fix it before you add rows.")


def measured(outcome: Outcome, command: str, machine: str = "") -> list[MeasuredRow]:
    """The rows; see `record`."""
    grid, results = outcome.grid, outcome.results
    if results.notes:
        raise UsageError(f"{outcome.out}: {results.notes[0]} They cannot enter a leaderboard.")
    labels = {row.variant: row.label for table in grid.tables for row in reversed(table.rows)}
    rows = []
    for variant in grid.used:
        for metric in results.metrics:
            summary = outcome.summaries[variant, metric.name]
            if summary.mean is not None:
                rows.append(_row(outcome, labels[variant], metric, summary, command, machine))
    return rows


def _row(outcome: Outcome, label: str, metric: Metric, summary: Summary, command: str, machine: str) -> MeasuredRow:
    grid, results = outcome.grid, outcome.results
    compat = metric.name.endswith("_compat")
    return MeasuredRow(
        benchmark=grid.benchmark,
        row=label,
        setting="; ".join(part for part in (_setting(results, summary.variant), grid.budget) if part),
        backbone=grid.trainer.backbone,
        method=summary.variant,
        metric=metric.name,
        quantity=metric.name.removesuffix("_compat"),
        mode="compat" if compat else "fixed",
        value=_number(summary.mean),
        spread=_number(summary.sd),
        low=_number(summary.low),
        high=_number(summary.high),
        n=str(summary.n or len(grid.seeds)),
        n_of=str(summary.n_of or len(grid.seeds)),
        unit=metric.unit,
        direction="n/a" if metric.direction == "none" else metric.direction,
        run_digest=_digest(outcome, summary.variant),
        weights_digest=results.weights.get(metric.name, "none"),
        weights="checkpoints",
        precision=results.precision,
        protocol=results.protocol,
        generator_digest="",
        seeds=" ".join(map(str, grid.seeds)),
        machine=machine or f"{platform.system()} {platform.machine()}",
        date=datetime.now(UTC).date().isoformat(),
        avbench_version=version("avbench"),
        command=" ".join(command.split()),
        note="" if metric.name not in results.rewarded else "was a reward of the training",
    )


def _setting(results: Results, variant: str) -> str:
    steps = {len(training.rows) for training in results.trainings if training.variant == variant}
    return f"{max(steps)} steps" if steps else "not trained"


def _digest(outcome: Outcome, variant: str) -> str:
    """Of what was to be done, and of what came out: on another processor the same settings give other values."""
    results = outcome.results
    parts = [_short([results.digests.get((variant, seed), "") for seed in outcome.grid.seeds])]
    for name in sorted(metric.name for metric in results.metrics):
        found = outcome.summaries[variant, name]
        if found.mean is not None:
            parts += [name, *map(_number, (found.mean, found.sd, found.low, found.high))]
    return _short(parts)


def _short(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
