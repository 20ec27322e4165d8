"""`avbench ablate`: train, sample, judge and compare the variants of a grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from avbench.terminal.output import say
from omninft_train.cli.options import need_packages

if TYPE_CHECKING:
    from omninft_train.ablation import Ablation, Outcome


def command(
    grid: Annotated[str, typer.Option("--grid", help="miniature, crowd, methods, ltx2, or a TOML file.")],
    budget: Annotated[str, typer.Option("--budget", help="One of the grid's budgets, such as smoke.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder; what is done there is kept. Default: runs/ablate-NAME.")
    ] = None,
    table: Annotated[list[str] | None, typer.Option("--table", help="Only these tables of the grid.")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Only these steps: prompts, pretrain, train, generate, score, evaluate, tables."),
    ] = None,
    variant: Annotated[list[str] | None, typer.Option("--variant", help="Only these variants, and no tables.")] = None,
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Only these seeds, and no tables.")] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Steps side by side; else the grid's.")
    ] = None,
    backend: Annotated[Literal["local", "ray"], typer.Option("--backend", help="Where steps run.")] = "local",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; do nothing.")] = False,
    commands: Annotated[bool, typer.Option("--commands", help="Print commands that do the steps one by one.")] = False,
    redo: Annotated[bool, typer.Option("--redo", help="Replace steps that were made with other settings.")] = False,
    leaderboards: Annotated[Path, typer.Option("--leaderboards", help="Folder of published figures.")] = Path(
        "leaderboards"
    ),
    record: Annotated[
        Path | None, typer.Option("--record", help="Add the results to measured/ of this leaderboards folder.")
    ] = None,
    machine: Annotated[str, typer.Option("--machine", help="With --record: the machine in words.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No plan, no progress, no tables.")] = False,
) -> None:
    """Train, sample, judge and compare the variants of a grid; what is done already is not done again.

    Several machines can run the same command on a shared folder. After an interruption, run it again.
    """
    need_packages("avbench ablate")
    from avbench.errors import UsageError
    from omninft_train.ablation import Choice, Request, check_record, open_ablation

    choice = Choice(tuple(only or ()), tuple(variant or ()), tuple(seed or ()))
    ablation = open_ablation(Request(grid, budget, out, tuple(table or ()), jobs, choice))
    if record is not None and not ablation.makes_tables:
        raise UsageError("--record needs all variants and seeds. Leave --variant, --seed and --only out.")
    if record is not None:
        check_record(ablation.grid, record)
    if commands:
        for command_line, runs in ablation.commands():
            for line in (command_line, *(f"#   {text}" for text in runs)):
                say(line)
        return
    if not quiet:
        _show_plan(ablation)
    if dry_run:
        return
    _run(ablation, backend, quiet=quiet, redo=redo)
    if not ablation.makes_tables:
        return
    outcome = ablation.tables(leaderboards)
    if not quiet:
        _show(outcome)
    if record is not None:
        _record(outcome, ablation, record, machine)


def _run(ablation: Ablation, backend: Literal["local", "ray"], *, quiet: bool, redo: bool) -> None:
    from avbench.terminal.interrupts import Interrupted
    from omninft_train.ablation import make_backend

    try:
        ablation.run(make_backend(backend, ablation.grid), None if quiet else _report_step, redo=redo)
    except Interrupted as stop:
        stop.settle()
        say("avbench: interrupted. Steps that are done are kept; the same command goes on from here.", err=True)
        raise typer.Exit(stop.exit_code) from None


def _show_plan(ablation: Ablation) -> None:
    from avbench.pages.terminal import print_table
    from omninft_train.ablation import cost_line, plan_table

    plan = ablation.plan()
    say(f"{ablation.grid.title} -> {ablation.out}")
    if plan.steps:
        print_table(plan_table(plan))
        say(cost_line(plan))


def _report_step(finished: Any, done: int, total: int) -> None:
    from omninft_train.ablation import duration

    word = {"done": "done", "cached": "done elsewhere", "failed": "FAILED"}[finished.state]
    say(f"[{done}/{total}] {finished.step_id}: {word}, {duration(finished.seconds)}")


def _show(outcome: Outcome) -> None:
    from avbench.pages.terminal import print_table

    for sheet in outcome.sheets:
        say("")
        say(sheet.table.title)
        for block in sheet.blocks[:-1]:
            print_table(block)
        held = [one.sentence for one in sheet.differences if one.verdict == "supported"]
        for sentence in (*sheet.orders, *held):
            say(f"- {sentence}")
        rest = len(sheet.sentences) - len(held)
        say(f"{rest} more orderings were compared and are not supported; the page has them.")
        if not sheet.beside.figures:
            say(sheet.beside.note)
    say(f"page: {outcome.out / 'report.html'}")


def _record(outcome: Outcome, ablation: Ablation, folder: Path, machine: str) -> None:
    from omninft_train.ablation import record

    count = record(outcome, folder, ablation.anywhere, machine)
    say(f"{count} rows added to {folder / 'measured'}; 'avbench leaderboard build' renders them")
