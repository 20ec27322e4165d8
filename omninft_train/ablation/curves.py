"""Training curves: what each step logged, as a mean over seeds with the span of the seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avbench.pages.charts import COLOURS, Labels, Series, Value, line_chart
from avbench.pages.svg import Chart
from omninft_train.ablation.collect import Results, Training
from omninft_train.ablation.grid import Grid
from omninft_train.training.tracking import reward_key, reward_names

_OTHERS = {
    "conflict_share": "fraction of rollouts whose video and audio advantages have opposite signs",
    "loss": "loss",
    "gradient_norm": "gradient norm",
    "distance_reference": "distance from the base policy's parameters",
}


@dataclass(frozen=True)
class Plot:
    """A chart, and the name of its file without suffix."""

    name: str
    chart: Chart


def curve_plots(grid: Grid, results: Results) -> list[Plot]:
    """One chart for each reward, then for other quantities that every step logs, with a line for each variant."""
    logged = dict.fromkeys(key for training in results.trainings for row in training.rows for key in row)
    rewards = [(reward_key(name, "mean"), f"Reward of the rollouts: {name}") for name in reward_names([logged])]
    others = [(key, text[0].upper() + text[1:]) for key, text in _OTHERS.items() if key in logged]
    order = [name for name in grid.used if any(t.variant == name for t in results.trainings)]
    return [Plot(_file(key), _plot(grid, results, order, key, title)) for key, title in rewards + others]


def _file(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", key)


def _plot(grid: Grid, results: Results, order: Sequence[str], key: str, title: str) -> Chart:
    steps = sorted({int(row["step"]) for training in results.trainings for row in training.rows})
    curves = []
    for number, variant in enumerate(order[:COLOURS]):
        trainings = [training for training in results.trainings if training.variant == variant]
        curves.append(_curve(grid.variants[variant].label, f"s{number}", trainings, key, steps))
    dropped = f" (first {COLOURS} variants)" if len(order) > COLOURS else ""
    return line_chart(Labels(title + dropped, "step", key.replace("_", " ")), steps, curves)


def _curve(label: str, style: str, trainings: Sequence[Training], key: str, steps: Sequence[int]) -> Series:
    by_seed = [{int(row["step"]): _number(row, key) for row in training.rows} for training in trainings]
    middle: list[Value] = []
    low: list[Value] = []
    high: list[Value] = []
    for step in steps:
        known = [value for seed in by_seed if (value := seed.get(step)) is not None]
        middle.append(sum(known) / len(known) if known else None)
        low.append(min(known) if len(known) > 1 else None)
        high.append(max(known) if len(known) > 1 else None)
    return Series(label, middle, style, dots=False, low=low, high=high)


def _number(row: Mapping[str, object], key: str) -> float | None:
    value = row.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
