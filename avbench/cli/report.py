"""`avbench report`: run folder in, one HTML page out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from avbench.terminal import say


def command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Page to write; default RUN/report.html.")] = None,
    media: Annotated[
        Literal["auto", "always", "never"],
        typer.Option(help="Put the clips inside the page: 'auto' does up to 40 MB, else the page links to the files."),
    ] = "auto",
) -> None:
    """Write one self-contained HTML page for a run."""
    from avbench.report.html import write_report
    from avbench.results import load_run

    say(str(write_report(load_run(run), out, embed=media)))
