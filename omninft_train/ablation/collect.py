"""Collect results of complete steps as tables: one row per clip and metric, per set metric, per training step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import UsageError
from avbench.results import load_run
from omninft_train.ablation.grid import Direction, Grid, Metric
from omninft_train.ablation.state import read_record
from omninft_train.ablation.steps import EVALUATION, RUN, Step
from omninft_train.evaluation import read_evaluation
from omninft_train.training import tracking

if TYPE_CHECKING:
    import pandas as pd

CLIP_COLUMNS = ("variant", "seed", "metric", "prompt", "sample", "value")
SET_COLUMNS = ("variant", "seed", "metric", "value")


@dataclass(frozen=True)
class Training:
    """How one training went. `rows` are the lines of its log; `seconds` their sum; `memory_gb` the most it needed."""

    variant: str
    seed: int
    rows: tuple[Mapping[str, Any], ...]
    seconds: float
    memory_gb: float | None


@dataclass(frozen=True)
class Results:
    """Everything that was measured.

    Attributes:
        clips: columns `CLIP_COLUMNS`; value is NaN where a metric failed.
        sets: columns `SET_COLUMNS`: metrics over all clips of a variant's seed.
        metrics: in order: rewarded ones first.
        rewarded: names of metrics that training saw.
        trainings: one for each trained variant and seed.
        notes: what a reader has to know of how it was judged.
        digests: of the evaluation of each variant and seed.
        precision, protocol: of the networks that judged.
        weights: digest of the networks that judged each metric; "none" without networks.
    """

    clips: pd.DataFrame
    sets: pd.DataFrame
    metrics: tuple[Metric, ...]
    rewarded: frozenset[str]
    trainings: tuple[Training, ...]
    notes: tuple[str, ...]
    digests: Mapping[tuple[str, int], str]
    weights: Mapping[str, str]
    precision: str = "fp32"
    protocol: str = ""


def collect(grid: Grid, out: Path, steps: list[Step]) -> Results:
    """Read the outputs of complete steps.

    Raises:
        UsageError: a file is not what its step wrote.
    """
    import pandas as pd

    collected = _Collected()
    for step in steps:
        if step.kind == "evaluate":
            _read_evaluation(collected, out, step)
        elif step.kind == "score":
            _read_scores(collected, grid, out, step)
    clips = pd.DataFrame(collected.clips, columns=list(CLIP_COLUMNS)).astype({"value": float, "seed": int})
    sets = pd.DataFrame(collected.sets, columns=list(SET_COLUMNS)).astype({"value": float, "seed": int})
    trainings = tuple(_training(out, step) for step in steps if step.kind == "train")
    names = sorted(collected.rewarded, key=_first_position(collected))
    names += [name for name in collected.names if name not in collected.rewarded]
    metrics = tuple(_known(grid, name, collected.metadata.get(name, {})) for name in names)
    notes = tuple(dict.fromkeys(collected.notes))
    return Results(
        clips,
        sets,
        metrics,
        frozenset(collected.rewarded),
        trainings,
        notes,
        collected.digests,
        collected.weights,
        *collected.how,
    )


class _Collected:
    """What was read so far."""

    def __init__(self) -> None:
        self.clips: list[tuple[Any, ...]] = []
        self.sets: list[tuple[Any, ...]] = []
        self.names: dict[str, None] = {}
        self.rewarded: set[str] = set()
        self.metadata: dict[str, Mapping[str, Any]] = {}
        self.notes: list[str] = []
        self.digests: dict[tuple[str, int], str] = {}
        self.weights: dict[str, str] = {}
        self.how = ("fp32", "")


def _first_position(collected: _Collected) -> Any:
    order = list(collected.names)
    return order.index


def _known(grid: Grid, name: str, metadata: Mapping[str, Any]) -> Metric:
    """What the grid says of a metric, else what the run that judged it says."""
    if name in grid.metrics or not metadata:
        return grid.metric(name)
    higher = metadata.get("higher_is_better")
    direction: Direction = "none" if higher is None else "higher" if higher else "lower"
    return Metric(name, name, direction, str(metadata.get("unit") or "1"))


def _read_evaluation(collected: _Collected, out: Path, step: Step) -> None:
    path = out / step.folder / EVALUATION
    try:
        evaluation = read_evaluation(path)
    except UsageError as error:
        raise UsageError(f"{error} Remove it and run the step again.") from error
    for name, metric in evaluation.metrics.items():
        collected.names[name] = None
        if metric.rewarded:
            collected.rewarded.add(name)
        for index, value in enumerate(metric.values):
            prompt, sample = divmod(index, evaluation.samples)
            collected.clips.append(
                (step.variant, step.seed, name, prompt, sample, math.nan if value is None else value)
            )
    for name, value in evaluation.sets.items():
        collected.names[name] = None
        collected.sets.append((step.variant, step.seed, name, math.nan if value is None else value))
    collected.digests[(step.variant, step.seed or 0)] = step.digest


def _read_scores(collected: _Collected, grid: Grid, out: Path, step: Step) -> None:
    folder = (out / step.folder / step.outputs[0]).parent
    run = load_run(folder)
    scores = run.scores
    part = folder.name.removeprefix("scores-")
    metadata = run.info.get("metrics") or {}
    ok = scores[scores["scope"] == "clip"]
    for metric, prompt, sample, value in zip(
        ok["metric"], ok["prompt_id"], ok["sample_index"], ok["value"].astype(float), strict=True
    ):
        collected.names[str(metric)] = None
        collected.clips.append((step.variant, step.seed, str(metric), f"{part}-{prompt}", int(sample), float(value)))
    for name, rows in scores[scores["status"] == "ok"].groupby("metric"):
        collected.metadata[str(name)] = metadata.get(str(name), {})
        collected.weights[str(name)] = " ".join(sorted(set(rows["weights_digest"])))
    collected.rewarded |= {name for name in grid.evaluation.rewarded if name in collected.names}
    if run.info.get("weights") != "checkpoints":
        collected.notes.append(f"Judged with {run.info.get('weights')} weights: these numbers mean nothing.")
    collected.how = (str(run.info.get("precision") or "fp32"), str(run.info.get("protocol") or ""))
    key = (step.variant, step.seed or 0)
    collected.digests[key] = collected.digests.get(key, "") + step.digest


def _training(out: Path, step: Step) -> Training:
    rows = tuple(tracking.read_metrics(out / step.folder / RUN))
    gpu = [row["peak_memory_gb"] for row in rows if isinstance(row.get("peak_memory_gb"), (int, float))]
    record = read_record(out, step) or {}
    memory = max(gpu) if gpu else record.get("memory_gb")
    return Training(step.variant, step.seed or 0, rows, sum(map(tracking.step_seconds, rows)), memory)
