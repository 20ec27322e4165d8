"""`avbench merge`: run folders of shards in, one run folder out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from avbench.cli.options import written_here
from avbench.terminal.output import print_json, say


def command(
    shards: Annotated[
        list[str],
        typer.Argument(
            metavar="SHARDS...",
            help="Run folders of 'avbench score --shard', also in object storage: s3://bucket/runs/x-1.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", callback=written_here, help="Run folder to make.")],
    reference: Annotated[
        Path | None, typer.Option(help="Features of real clips that fvd, kvd and fad compare with (.npz or .pt).")
    ] = None,
    max_failed: Annotated[
        float,
        typer.Option(min=0, help="Clips that may fail before the exit code is 3: a fraction below 1, or a count."),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No tables.")] = False,
) -> None:
    """Merge the shards of a run into one run folder.

    Scores of clips are taken over; metrics over all clips and the summary are computed from stored features and scores.
    The clips themselves are not needed.
    """
    from avbench.cli.score import outcome_as_json, show_outcome
    from avbench.doctor.environment import describe_command
    from avbench.errors import TooManyFailedError
    from avbench.run.merge import merge_runs
    from avbench.run.outcome import check_failures

    outcome = merge_runs(shards, out, reference=reference, command=describe_command(sys.argv[1:]))
    for note in outcome.notes:
        say(f"note: {note}", err=True)
    if as_json:
        print_json(outcome_as_json(outcome))
    elif not quiet:
        show_outcome(outcome, None, False)
    if problem := check_failures(outcome, max_failed):
        raise TooManyFailedError(f"{problem}; reasons are in {outcome.path / 'scores.jsonl'}")
