"""`avbench report`: run folder in, one HTML page out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from avbench.cli.options import written_here
from avbench.terminal.output import say


def command(
    run: Annotated[str, typer.Argument(help="Run folder, also in object storage: s3://bucket/runs/x.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            callback=written_here,
            help="Page to write; default RUN/report.html, ./report.html for a remote run.",
        ),
    ] = None,
    media: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(help="Put the clips inside the page: 'auto' does up to 40 MB, else the page links to the files."),
    ] = "auto",
    source: Annotated[
        list[Path] | None,
        typer.Option("--source", help="Folder with the clips, where it has moved; they are known by their content."),
    ] = None,
) -> None:
    """Write one self-contained HTML page for a run."""
    from avbench.errors import UsageError
    from avbench.remote.addresses import is_address
    from avbench.remote.run_folders import local_run
    from avbench.report.html import write_report
    from avbench.results.repair import open_run
    from avbench.run.recovery import recover_info

    for folder in source or ():
        if not folder.is_dir():
            raise UsageError(f"--source {folder}: no such folder. Give the one that holds the clips.")
    if is_address(run) and out is None:
        out = Path("report.html")
    with local_run(run) as folder:
        opened, notes = open_run(folder, recover_info)
        for note in notes:
            say(f"note: {note}", err=True)
        say(str(write_report(opened, out, embed=media, folders=source or (), search=bool(source))))
