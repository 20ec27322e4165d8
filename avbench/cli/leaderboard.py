"""`avbench leaderboard`: check the figures, render them, add runs of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.terminal.output import say

app = typer.Typer(
    help="Check published and measured figures, render their tables, add runs.",
    epilog="Exit codes: 0 ok, 1 renderings are stale (build --check), 2 wrong usage or a wrong table, 4 environment.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FolderOption = Annotated[Path, typer.Option("--folder", help="The leaderboards folder.")]
FOLDER = Path("leaderboards")


@app.command("check")
def check(folder: FolderOption = FOLDER) -> None:
    """Check every table: columns, units, ranges, directions, duplicates, sources, conflicts, views."""
    from avbench.leaderboard import read_folder

    reading = read_folder(folder)
    for problem in reading.problems:
        say(f"{folder}/{problem}", err=True)
    if reading.problems:
        raise typer.Exit(2)
    published = sum(figure.provenance == "published" for figure in reading.board.figures)
    say(f"{published} published figures, {len(reading.board.measured)} measured rows: no problem")


@app.command("build")
def build(
    folder: FolderOption = FOLDER,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 where a rendering is not up to date.")
    ] = False,
) -> None:
    """Render all views into rendered/ of the folder: Markdown, LaTeX, CSV and one HTML page."""
    from avbench.leaderboard import build as write_all
    from avbench.leaderboard import stale

    if not check:
        for name in write_all(folder):
            say(str(folder / "rendered" / name))
    outdated = stale(folder)
    for one in outdated:
        say(f"{folder}/rendered/{one}", err=True)
    if outdated and check:
        say("run 'avbench leaderboard build' and commit what it writes", err=True)
        raise typer.Exit(1)


@app.command("add")
def add(
    runs: Annotated[
        list[str], typer.Argument(help="Run folders of 'avbench score', also in object storage.", metavar="RUN...")
    ],
    benchmark: Annotated[str, typer.Option(help="Prompts and protocol; rows of one benchmark are compared.")],
    seeds: Annotated[str, typer.Option(help="Seeds of the generator or of training: 0,1,2; 'none' for recordings.")],
    folder: FolderOption = FOLDER,
    file: Annotated[str, typer.Option(help="Table below measured/.")] = "runs.csv",
    row: Annotated[str, typer.Option(help="Name of the model; default: the clips' model, else the run's name.")] = "",
    setting: Annotated[str, typer.Option(help="Size, steps, and the like.")] = "",
    backbone: Annotated[str, typer.Option(help="Base model.")] = "",
    method: Annotated[str, typer.Option(help="What was done to it; 'base' for nothing.")] = "",
    machine: Annotated[str, typer.Option(help="In words; default: the platform that the run recorded.")] = "",
    generator_digest: Annotated[str, typer.Option(help="Digest of the weights that made the clips.")] = "",
    note: Annotated[str, typer.Option(help="What else a reader has to know.")] = "",
) -> None:
    """Add runs to the measured tables, with their provenance. Runs with keyed-random weights are refused."""
    from avbench.leaderboard import About, append_measured, measured_rows
    from avbench.results import load_run

    about = About(benchmark, seeds, row, setting, backbone, method, machine, generator_digest, note)
    rows = [measured for run in runs for measured in measured_rows(load_run(run, slim=True), about)]
    count = append_measured(folder, rows, file)
    say(f"{count} rows added to {folder / 'measured' / file}, {len(rows) - count} were there already")
    if count:
        say("'avbench leaderboard build' renders them")
