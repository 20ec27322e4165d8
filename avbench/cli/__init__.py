"""The command line. Each command parses, calls one library function and renders."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from avbench.cli import (
    check,
    clips,
    doctor,
    leaderboard,
    ls,
    merge,
    models,
    prompts,
    reference,
    report,
    score,
    validate,
)
from avbench.cli.plugins import CommandGroup
from avbench.terminal.entry import run_app, start_logging

app = typer.Typer(
    name="avbench",
    cls=CommandGroup,
    help="Score generated clips with sound. One environment, one decode, one command.",
    epilog="Exit codes: 0 ok, 1 regression, 2 wrong usage, 3 finished but clips failed, "
    "4 environment (package, weights, disk), 5 undecided, 70 a fault of avbench itself, "
    "130 interrupted (143 by SIGTERM, 129 by SIGHUP).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("score")(score.command)
app.command("merge")(merge.command)
app.command("clips")(clips.command)
app.command("report")(report.command)
app.command("reference")(reference.command)
app.command("validate")(validate.command)
app.command("ls")(ls.command)
app.command("doctor")(doctor.command)
app.add_typer(leaderboard.app, name="leaderboard")
app.add_typer(models.app, name="models")
app.add_typer(prompts.app, name="prompts")
app.add_typer(check.app, name="check")


@app.callback()
def _root(
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what happens, with tracebacks.")] = False,
) -> None:
    start_logging(level=logging.DEBUG if verbose else logging.WARNING, form="%(levelname)s %(name)s: %(message)s")


def main() -> None:
    """Run the command line; map our errors to one line and an exit code."""
    run_app(app, "avbench", interrupted="Scores so far are kept; the same command goes on from here.")
