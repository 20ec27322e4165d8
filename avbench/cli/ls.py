"""`avbench ls`: suites and metrics, and whether they can run here."""

from __future__ import annotations

from typing import Annotated

import typer

from avbench.terminal.output import cell, print_json, show


def command(
    suite: Annotated[str | None, typer.Argument(help="Only the metrics of this suite.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List suites and metrics: needs, unit, direction, checkpoint, licence, and whether they run here."""
    from avbench.encoders import WeightsConfig
    from avbench.metrics.base import get_scorers, registry
    from avbench.suites import get_suite, list_suites

    scorers = get_scorers(get_suite(suite).metrics) if suite else list(registry().values())
    if as_json:
        content = {
            "suites": {s.name: {"summary": s.summary, "metrics": s.metrics} for s in list_suites()},
            "metrics": {s.name: s.metadata() | {"unavailable": s.unavailable(WeightsConfig())} for s in scorers},
        }
        print_json(content)
        return
    from rich.table import Table

    suites = Table(title="suites")
    for name in ("suite", "metrics", "what"):
        suites.add_column(name)
    for entry in list_suites():
        suites.add_row(*map(cell, (entry.name, str(len(entry.metrics)), entry.summary)))
    show(suites)
    table = Table(title="metrics (↑ higher is better, ↓ lower is better, · neither)")
    for name in ("metric", "what", "unit", "", "needs", "checkpoint, licence", "runs here"):
        table.add_column(name, overflow="fold")
    for scorer in scorers:
        weights = f"{scorer.checkpoint}, {scorer.licence}" if scorer.checkpoint else "–"
        cells = (
            scorer.name, scorer.summary, scorer.unit, scorer.direction.arrow,
            ", ".join(sorted(scorer.needs)), weights, scorer.unavailable(WeightsConfig()) or "yes",
        )  # fmt: skip
        table.add_row(*map(cell, cells))
    show(table)
