"""Evaluations as values: one number per clip and metric, kept as JSON, and compared in pairs of clips."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

from avbench.config import at_least, build
from avbench.files import make_folder, write_atomically
from avbench.pages.numbers import format_ends, format_value, interval_of
from avbench.pages.table import Column, Table, row_of
from avbench.statistics import LEVEL, Interval, mean_interval
from avbench.toml import Origin
from omninft_train.errors import UsageError

FOLDER = "evaluations"
FILE = "evaluation.json"
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        rewarded: whether training saw it.
        values: one per clip, prompts first; None where it failed.
        higher_is_better: None where neither direction is; files of older versions do not say.
    """

    rewarded: bool
    values: tuple[float | None, ...]
    higher_is_better: bool | None = True


@dataclass(frozen=True)
class Evaluation:
    """One policy on some prompts.

    Attributes:
        role, step: whose clips, after how many optimiser steps.
        seed, samples, sampling_steps: how they were sampled; equal ones mean equal noise, so clips form pairs.
        prompts: their texts; clip i is of prompt i // samples.
        metrics: by name.
        sets: metrics of all clips together.
        failures: reasons of failed values.
        noise: how it followed from the seed; files of older versions do not say.
        texts: identity of all that the prompts told the judges. guidance: scales of video, audio and STG. Files of
            older versions say neither.
    """

    role: str
    step: int
    seed: int
    samples: Annotated[int, at_least(1)]
    sampling_steps: int
    prompts: tuple[str, ...]
    metrics: Mapping[str, Metric]
    sets: Mapping[str, float | None]
    failures: tuple[str, ...]
    noise: int = 1
    texts: str = ""
    guidance: tuple[float, ...] = ()

    def mean(self, name: str) -> Interval:
        """Mean of a metric with its interval over prompts."""
        known = {i: value for i, value in enumerate(self.metrics[name].values) if value is not None}
        return mean_interval(list(known.values()), [i // self.samples for i in known])

    def pairs_with(self, other: Evaluation) -> bool:
        """Whether clip i of both has the same prompt and noise, and was judged against the same texts."""
        names = ("prompts", "samples", "seed", "sampling_steps", "noise")
        if any(getattr(self, name) != getattr(other, name) for name in names):
            return False
        told = [(getattr(self, name), getattr(other, name)) for name in ("texts", "guidance")]
        return all(mine == theirs for mine, theirs in told if mine and theirs)


def change(before: Evaluation, after: Evaluation, name: str, level: float = LEVEL) -> Interval:
    """Mean of the differences of the same clip in two evaluations, with its interval over prompts.

    Args:
        before, after: evaluations whose clips form pairs.
        name: of the metric; both have it.
        level: coverage, 0..1.
    """
    pairs = enumerate(zip(before.metrics[name].values, after.metrics[name].values, strict=True))
    known = {i: b - a for i, (a, b) in pairs if a is not None and b is not None}
    return mean_interval(list(known.values()), [i // before.samples for i in known], level)


def evaluation_folder(run: Path, step: int) -> Path:
    """Where a run keeps clips and scores of its policy after `step` optimiser steps."""
    return run / FOLDER / f"step-{step:06d}"


def read_evaluations(run: Path) -> dict[int, Evaluation]:
    """Complete evaluations of a run's policy while it was trained, by steps, in their order.

    Raises:
        UsageError: one of them is damaged.
    """
    names = {path: _STEP.fullmatch(path.parent.name) for path in (run / FOLDER).glob(f"*/{FILE}")}
    steps = sorted((int(match[1]), path) for path, match in names.items() if match)
    return {step: read_evaluation(path) for step, path in steps}


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write as JSON, aside and renamed.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    write_json(asdict(evaluation), path)


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write any JSON, aside and renamed.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    make_folder(path.parent, "--out")
    write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_evaluation(path: Path) -> Evaluation:
    """Read an evaluation that `write_evaluation` wrote.

    Raises:
        UsageError: no such file, or not one of these.
    """
    try:
        return build(Evaluation, json.loads(path.read_text(encoding="utf-8")), Origin(str(path)))
    except (OSError, ValueError, UsageError) as error:
        raise UsageError(f"{path}: not an evaluation of the trainer ({error}).") from error


_COLUMNS = (
    Column("metric", "metric", "word"), Column("rewarded", "rewarded", "word"), Column("mean", "mean"),
    Column("interval", "95 % interval"), Column("clips", "clips"), Column("failed", "failed"),
)  # fmt: skip


def summarise(evaluation: Evaluation) -> Table:
    """Mean with its interval over prompts, and failures, of each metric, as a table."""
    rows = []
    for name, metric in evaluation.metrics.items():
        count = sum(value is not None for value in metric.values)
        estimate = evaluation.mean(name)
        ends = format_ends(interval_of(estimate.low, estimate.high, estimate.reason), 4)
        shown = ("yes" if metric.rewarded else "no", format_value(estimate.mean, 4), ends)
        rows.append(row_of((name, *shown, str(count), str(len(metric.values) - count))))
    rows += [row_of((name, "no", format_value(value, 4), "", "all", "")) for name, value in evaluation.sets.items()]
    return Table("", _COLUMNS, tuple(rows))


def mean_of(metric: Metric) -> float | None:
    """Mean of the values that there are."""
    values = [value for value in metric.values if value is not None]
    return fmean(values) if values else None
