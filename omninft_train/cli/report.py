"""`omninft-train report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.terminal.output import say
from omninft_train.cli.options import RunFolder


def command(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option("--out", help="The page; default: report.html of the run.")] = None,
) -> None:
    """Write one HTML page about a run: curves, its evaluations, and clips of the first and the last of them."""
    from omninft_train.report import write_report
    from omninft_train.report.run import report_of_run

    say(str(write_report(report_of_run(run), out or run / "report.html")))
