"""The plan: which steps there are, which of them are wanted, what is done, and what the rest is expected to cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from avbench.errors import UsageError, near
from avbench.pages.table import Column, Table, row_of
from omninft_train.ablation.grid import Grid
from omninft_train.ablation.state import Status, read_record, status
from omninft_train.ablation.steps import KINDS, TABLES, Step

_SHOWN_AS = {"complete": "done", "started": "half done", "stale": "other settings", "foreign": "folder in use"}


@dataclass(frozen=True)
class Choice:
    """Which steps are wanted; empty for all."""

    only: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether everything is wanted, tables included."""
        return not (self.only or self.variants or self.seeds)


@dataclass(frozen=True)
class Planned:
    """A step, where it stands, and the seconds that it is expected to take."""

    step: Step
    status: Status
    seconds: float


@dataclass(frozen=True)
class Plan:
    """Chosen steps. `measured` says whether costs come from steps that were done in this folder."""

    grid: Grid
    out: Path
    steps: tuple[Planned, ...]
    measured: bool

    @property
    def todo(self) -> list[Planned]:
        """Steps that are not complete."""
        return [planned for planned in self.steps if planned.status.state != "complete"]

    @property
    def seconds(self) -> float:
        """Of one slot, for all that is to be done."""
        return sum(planned.seconds for planned in self.todo)


def check_choice(grid: Grid, choice: Choice) -> None:
    """Whether what was chosen exists.

    Raises:
        UsageError: an unknown kind, variant or seed.
    """
    for name in choice.only:
        if name not in (*KINDS, TABLES):
            raise UsageError(f"unknown step {name} (--only). {near(name, (*KINDS, TABLES))}")
    for name in choice.variants:
        if name not in grid.used:
            raise UsageError(f"the chosen tables have no variant {name} (--variant). {near(name, grid.used)}")
    for seed in choice.seeds:
        if seed not in grid.seeds:
            raise UsageError(f"no seed {seed} (--seed): the grid has seeds {', '.join(map(str, grid.seeds))}.")


def chosen_steps(steps: Sequence[Step], choice: Choice) -> list[Step]:
    """Steps that were chosen. Those of no variant, such as the pretraining, belong to every variant and seed."""
    chosen = []
    for step in steps:
        if choice.only and step.kind not in choice.only:
            continue
        if step.variant and choice.variants and step.variant not in choice.variants:
            continue
        if step.seed is not None and choice.seeds and step.seed not in choice.seeds:
            continue
        chosen.append(step)
    if not choice.only:
        return _with_needs(steps, chosen)
    return chosen


def _with_needs(steps: Sequence[Step], chosen: list[Step]) -> list[Step]:
    """Add what the steps need: the base policy is sampled from another variant's run."""
    wanted = {step.id for step in chosen}
    for step in reversed(steps):
        if step.id in wanted:
            wanted.update(step.needs)
    return [step for step in steps if step.id in wanted]


def make_plan(grid: Grid, out: Path, steps: Sequence[Step]) -> Plan:
    """Where each step stands and what it is expected to cost.

    Steps that were done in this folder tell the speed of others of their kind; where there are none, the grid does.
    """
    speeds: dict[str, list[float]] = {}
    states = [(step, status(out, step)) for step in steps]
    for step, state in states:
        if state.state == "complete" and step.amount:
            record = read_record(out, step) or {}
            if record.get("attempts") == 1:  # others were done in part before
                speeds.setdefault(step.kind, []).append(float(record.get("seconds", 0)) / step.amount)
    planned = []
    for step, state in states:
        known = speeds.get(step.kind)
        seconds = median(known) * step.amount if known else step.seconds
        planned.append(Planned(step, state, seconds))
    return Plan(grid, out, tuple(planned), bool(speeds))


_COLUMNS = (
    Column("step", "step", "word"), Column("variant", "variant", "word"), Column("seeds", "seeds", "text"),
    Column("done", "done", "text"), Column("rest", "expected for the rest"),
)  # fmt: skip


def plan_table(plan: Plan) -> Table:
    """The plan as a table, seeds of a variant on one line."""
    rows = []
    groups: dict[tuple[str, str], list[Planned]] = {}
    for planned in plan.steps:
        groups.setdefault((planned.step.kind, planned.step.variant), []).append(planned)
    for (kind, variant), members in groups.items():
        seeds = dict.fromkeys(p.step.seed for p in members if p.step.seed is not None)
        done = sum(p.status.state == "complete" for p in members)
        odd = dict.fromkeys(_SHOWN_AS[p.status.state] for p in members if p.status.state in _SHOWN_AS)
        odd.pop("done", None)
        state = f"{done} of {len(members)}" + (f", {', '.join(odd)}" if odd else "")
        rest = sum(p.seconds for p in members if p.status.state != "complete")
        texts = (kind, variant, " ".join(map(str, seeds)), state, duration(rest) if rest else "")
        rows.append(row_of(texts))
    return Table("", _COLUMNS, tuple(rows))


def cost_line(plan: Plan) -> str:
    """Remaining steps and their cost, in words."""
    grid = plan.grid
    if not plan.todo:
        return f"{len(plan.steps)} steps, all done"
    whole = plan.seconds
    source = "from steps done here" if plan.measured else grid.cost.source or "figures of the miniature, a guess"
    wall = duration(wall_seconds([(p.step.kind, p.seconds) for p in plan.todo], grid.jobs))
    return (
        f"{len(plan.steps)} steps, {len(plan.todo)} to do: about {duration(whole)} of one slot, {wall} with "
        f"{grid.jobs} side by side ({source})"
    )


def wall_seconds(steps: Sequence[tuple[str, float]], jobs: int) -> float:
    """Seconds of steps, by kind, with so many side by side; everything waits for the pretraining."""
    first = sum(seconds for kind, seconds in steps if kind == "pretrain")
    return first + (sum(seconds for _, seconds in steps) - first) / jobs


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
