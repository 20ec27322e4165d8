"""An ablation as a whole: grid and folder in, steps chosen, run, tables made."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from avbench.config import located
from avbench.errors import UsageError
from avbench.files import make_folder
from avbench.metrics.base import get_scorers
from omninft_train.ablation.backends import Backend
from omninft_train.ablation.grid import Grid
from omninft_train.ablation.outcome import Outcome, make_outcome
from omninft_train.ablation.plan import Choice, Plan, check_choice, chosen_steps, make_plan
from omninft_train.ablation.processes import check_command, with_paths
from omninft_train.ablation.reading import load_grid
from omninft_train.ablation.runner import Report, check_needs, run_steps
from omninft_train.ablation.state import refuse_others
from omninft_train.ablation.steps import TABLES, Step, make_steps
from omninft_train.ablation.variants import pretraining, resolve


@dataclass(frozen=True)
class Request:
    """Settings of an ablation from the command line.

    Attributes:
        grid: name or file. budget: of its budgets; empty for none.
        out: folder; None for runs/ablate-NAME.
        tables: only these; empty for those of the grid.
        jobs: steps side by side; None for the grid's.
        choice: which steps.
    """

    grid: str
    budget: str = ""
    out: Path | None = None
    tables: tuple[str, ...] = ()
    jobs: int | None = None
    choice: Choice = field(default_factory=Choice)


@dataclass(frozen=True)
class Ablation:
    """A grid with its steps, of which `chosen` are those to run."""

    grid: Grid
    out: Path
    steps: tuple[Step, ...]
    chosen: tuple[Step, ...]
    request: Request

    @property
    def again(self) -> str:
        """The command line without a choice of steps."""
        return _command(self.request)

    @property
    def anywhere(self) -> str:
        """The same without the folder, which is of this machine."""
        return _command(replace(self.request, out=None))

    @property
    def makes_tables(self) -> bool:
        """Whether tables are wanted: with everything, or by name."""
        return self.request.choice.whole or TABLES in self.request.choice.only

    def plan(self) -> Plan:
        """Where the chosen steps stand and what is left of them."""
        return make_plan(self.grid, self.out, self.chosen)

    def commands(self) -> list[tuple[str, list[str]]]:
        """Commands for the chosen steps that are to be done, in an order in which they can run.

        Each with what it runs in turn. Those alone would leave no record of what they did.
        """
        commands: dict[str, list[str]] = {}
        for planned in self.plan().todo:
            step = planned.step
            line = f"{self.again} --only {step.kind}"
            if step.variant:
                line += f" --variant {step.variant} --seed {step.seed}"
            runs = commands.setdefault(line, [])
            if step.command:
                runs.append(" ".join(map(_quoted, with_paths(step.command, self.out))))
        return list(commands.items())

    def run(self, backend: Backend, report: Report | None = None, *, redo: bool = False) -> None:
        """Run the chosen steps that are not complete.

        Raises:
            UsageError: the folder holds something else, or what a step needs is not complete.
            EnvironmentProblem: a step failed.
        """
        try:
            make_folder(self.out, "--out")
            refuse_others(self.out, list(self.chosen), redo=redo)
            check_needs(self.out, self.chosen, self.steps, self.again)
        except BaseException:
            backend.close(stop=False)
            raise
        run_steps(self.grid, self.out, self.chosen, backend, report)

    def tables(self, leaderboards: Path) -> Outcome:
        """Make the tables and the page.

        Raises:
            UsageError: a step is not complete.
        """
        return make_outcome(self.grid, self.out, self.steps, self.again, leaderboards)


def open_ablation(request: Request) -> Ablation:
    """Read a grid, resolve the configuration of each variant, and lay out the steps. Writes nothing.

    Raises:
        UsageError: anything in the grid or the request that cannot be.
        EnvironmentProblem: the trainer cannot be started.
    """
    grid = load_grid(request.grid, request.budget)
    if request.tables:
        grid = _only_tables(grid, request)
    if request.jobs is not None:
        grid = replace(grid, jobs=request.jobs)
    check_choice(grid, request.choice)
    _check_metrics(grid)
    with located(grid.origins):
        check_command(grid.trainer.command, grid.source)
    steps = make_steps(grid, resolve(grid, grid.used), pretraining(grid))
    name = f"runs/ablate-{grid.name}" + (f"-{grid.budget}" if grid.budget else "")
    out = request.out or Path(name)
    chosen = chosen_steps(steps, request.choice)
    return Ablation(grid, out, tuple(steps), tuple(chosen), request)


def _check_metrics(grid: Grid) -> None:
    for number, name in enumerate(grid.evaluation.metrics):
        try:
            get_scorers([name])
        except UsageError as error:
            raise grid.refuse(f"[evaluate] metrics: {error}", ("evaluate", "metrics", number)) from error


def _quoted(part: str) -> str:
    """An argument for a shell; environment variables stay open."""
    return f'"{part}"' if "$" in part and not set(part) & set('"`\\') else shlex.quote(part)


def _only_tables(grid: Grid, request: Request) -> Grid:
    whole = load_grid(request.grid, request.budget, all_tables=True)
    by_name = {table.name: table for table in whole.tables}
    for name in request.tables:
        if name not in by_name:
            raise UsageError(f"no table {name} (--table): {grid.source} has {', '.join(by_name)}.")
    return replace(grid, tables=tuple(by_name[name] for name in dict.fromkeys(request.tables)))


def _command(request: Request) -> str:
    parts: Sequence[str] = [
        "avbench", "ablate", "--grid", request.grid,
        *(("--budget", request.budget) if request.budget else ()),
        *(("--out", str(request.out)) if request.out else ()),
        *(part for name in request.tables for part in ("--table", name)),
    ]  # fmt: skip
    return shlex.join(parts)
