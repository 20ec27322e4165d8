"""Grid of an ablation: base policy, variants as overrides of the trainer's configuration, seeds, prompts, tables.

Values only. `load_grid` in reading.py makes them from a TOML file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from avbench.config import NOT_EMPTY, at_least, key, refuse
from avbench.errors import UsageError
from avbench.toml import KeyPath, Origin

Count = Annotated[int, at_least(1)]
Direction = Literal["higher", "lower", "none"]
Judge = Literal["trainer", "avbench"]


@dataclass(frozen=True)
class Trainer:
    """How the trainer is called.

    Attributes:
        command: of every step but training; "{python}" is this Python, "$NAME" an environment variable.
        launch: of training; empty for `command`. torchrun, srun and the like go here.
        backbone: for --backbone.
        processes: that `launch` starts; rollouts of a step are divided among them.
        version: of the trainer; part of every digest.
    """

    command: Annotated[tuple[str, ...], NOT_EMPTY] = ("{python}", "-m", "omninft_train")
    launch: tuple[str, ...] = ()
    backbone: str = "miniature"
    processes: Count = 1
    version: str = ""


@dataclass(frozen=True)
class Base:
    """The policy that every variant starts from.

    Attributes:
        path: folder or hub id of a model; empty for a pretraining made here.
        pretrain_steps: optimiser steps of that pretraining; None for as many as the trainer's default.
        pretrain_seed: of its weights and scenes.
    """

    path: str = ""
    pretrain_steps: Count | None = None
    pretrain_seed: int = 0

    def __post_init__(self) -> None:
        if self.path and self.pretrain_steps is not None:
            raise UsageError("has a path and pretrain_steps. Keep one of them.")


@dataclass(frozen=True)
class Evaluation:
    """How trained policies are judged.

    Attributes:
        judge: "trainer": `evaluate` samples in memory and judges by rewards and held-out metrics; "avbench": `sample`
            writes clips and `avbench score` judges them.
        samples: clips of each prompt.
        seed: added to a variant's seed; equal sums mean equal noise, so that clips form pairs.
        steps: sampling steps; None for the trainer's default.
        guidance: of video and audio; None for that of training.
        prompts: suite or file; empty for those that the trainer keeps aside.
        limit: only so many prompts, from the first; None for all.
        parts: clips of a variant are generated in so many steps, which machines can share.
        metrics: of `avbench score`.
        rewarded: those of them that training saw.
        options: further arguments of `avbench score`.
    """

    judge: Judge = "trainer"
    samples: Count = 8
    seed: int = 0
    steps: Count | None = None
    guidance: tuple[float, float] | None = None
    prompts: str = ""
    limit: Count | None = None
    parts: Count = 1
    metrics: tuple[str, ...] = ()
    rewarded: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.judge == "avbench" and not (self.metrics and self.prompts):
            raise UsageError('judge = "avbench" needs prompts and metrics.')
        if self.judge == "trainer" and (self.parts > 1 or self.metrics):
            raise UsageError('parts and metrics need judge = "avbench".')


@dataclass(frozen=True)
class Variant:
    """One policy: a recipe of the trainer with overrides; without a recipe, the base policy itself."""

    name: str = key(None, default="")
    label: str = ""
    recipe: str = ""
    overrides: Mapping[str, Any] = key("set", default_factory=dict)
    about: str = ""

    def __post_init__(self) -> None:
        if self.overrides and not self.recipe:
            raise UsageError("has 'set' and no recipe: the base policy is not trained.")


@dataclass(frozen=True)
class Row:
    """A row of a table: a variant under a label, and the published row that it answers to."""

    variant: str
    label: str = ""
    group: str = ""
    published: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the result.

    Attributes:
        rows: in order; each is compared with the row before it in its group.
        baseline: variant that every row is compared with as well; empty for none.
        columns: metrics, in order; empty for all.
        published: name of the published table.
    """

    name: str = key(None, default="")
    title: str = ""
    rows: tuple[Row, ...] = ()
    about: str = ""
    baseline: str = ""
    columns: tuple[str, ...] = ()
    published: str = ""


@dataclass(frozen=True)
class Metric:
    """Metadata of a metric that the results do not hold; `published` is the equal quantity of published tables."""

    name: str = key(None, default="")
    label: str = ""
    direction: Direction = "none"
    unit: str = "1"
    about: str = ""
    published: str = ""


@dataclass(frozen=True)
class Published:
    """Where published figures come from, and what a reader has to know; shown where `benchmark` is the grid's."""

    paper: str = ""
    benchmark: str = ""
    caveat: str = ""


@dataclass(frozen=True)
class Cost:
    """Expected cost of steps, in seconds of one slot, until steps of this folder were measured.

    Attributes:
        start: of any step.
        pretrain_step, train_rollout, clip, score_clip: of one optimiser step of pretraining, one rollout of one
            training step, one clip sampled (and judged by the trainer), one clip scored by avbench.
        pretrain_steps, own_prompts: of the trainer, where the grid leaves them to it.
        source: where the figures come from.
    """

    start: float = 6.0
    pretrain_step: float = 0.35
    train_rollout: float = 0.125
    clip: float = 0.25
    score_clip: float = 0.5
    pretrain_steps: float = 1500
    own_prompts: int = 16
    source: str = ""


@dataclass(frozen=True)
class Grid:
    """An ablation.

    Attributes:
        source: the file, for messages. folder: paths in the file start here.
        budget: name of the budget that was applied; empty for none.
        benchmark: prompts and protocol, as rows of leaderboards name them.
        seeds: of training; each variant is trained once with each.
        jobs: steps side by side. threads: of each.
        train: overrides of the trainer's configuration for all variants.
        train_prompts: suite or file; empty for the trainer's own. Prompts that are evaluated are left out.
        gpus: of a step, by kind; for Ray.
        origins: what the grid was read from, for messages.
    """

    name: str
    title: str
    about: str
    source: str
    folder: Path
    budget: str
    benchmark: str
    seeds: tuple[int, ...]
    jobs: int
    threads: int
    trainer: Trainer
    base: Base
    train: Mapping[str, Any]
    train_prompts: str
    evaluation: Evaluation
    variants: Mapping[str, Variant]
    tables: tuple[Table, ...]
    metrics: Mapping[str, Metric]
    published: Published
    cost: Cost
    gpus: Mapping[str, float]
    origins: tuple[Origin, ...] = ()

    def refuse(self, reason: str, *paths: KeyPath) -> UsageError:
        """The error to raise for a value that does not fit; it names the file and the line of the first path set."""
        origins = self.origins or (Origin(self.source),)
        path = next((path for path in paths for origin in reversed(origins) if origin.line(path)), paths[0])
        return refuse(origins, path, reason)

    @property
    def used(self) -> list[str]:
        """Variants of the tables, in order of first appearance."""
        return list(dict.fromkeys(row.variant for table in self.tables for row in table.rows))

    def metric(self, name: str) -> Metric:
        """Metadata of a metric."""
        return self.metrics.get(name, Metric(name, name))
