"""`avbench ls`: suites and metrics, and whether they can run here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from avbench.terminal.output import cell, console, print_json, say, show
from avbench.terminal.text import visible

if TYPE_CHECKING:
    from rich.table import Table

    from avbench.metrics.base import Scorer

_JUDGES = {
    "clip": "each clip",
    "set": "all clips together, against a reference set",
    "derived": "all clips together, from their scores",
}
_LEGEND = "↑ higher is better, ↓ lower is better, · neither; 'avbench ls METRIC' tells more"


def command(
    name: Annotated[str | None, typer.Argument(help="A suite: only its metrics. A metric: all about it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List suites and metrics, or describe one metric: direction, unit, needs, checkpoint, and whether it runs here."""
    from avbench.encoders import WeightsConfig
    from avbench.errors import UsageError, near
    from avbench.metrics.base import get_scorers, registry
    from avbench.suites import get_suite, list_suites

    metric = name if name in registry() else None
    known = [*registry(), *(suite.name for suite in list_suites())]
    if name is not None and name not in known:
        raise UsageError(f"unknown suite or metric {name!r}. {near(name, known)} See 'avbench ls'.")
    scorers = get_scorers([metric] if metric else get_suite(name).metrics) if name else list(registry().values())
    if as_json:
        content = {
            "suites": {s.name: {"summary": s.summary, "metrics": s.metrics} for s in list_suites()},
            "metrics": {s.name: s.metadata() | {"unavailable": s.unavailable(WeightsConfig())} for s in scorers},
        }
        print_json(content)
    elif metric:
        show(_details(scorers[0], [suite.name for suite in list_suites() if metric in suite.metrics]))
    else:
        listed = list_suites()
        _show("suites", [(suite.name, str(len(suite.metrics)), suite.summary) for suite in listed])
        _show_metrics(scorers)


def _show_metrics(scorers: list[Scorer]) -> None:
    """One line for each metric, families together."""
    from avbench.encoders import WeightsConfig

    families = list(dict.fromkeys(scorer.family for scorer in scorers))
    ordered = sorted(scorers, key=lambda scorer: families.index(scorer.family))
    for family, members in groupby(ordered, key=lambda scorer: scorer.family):
        lines = []
        for scorer in members:
            reason = scorer.unavailable(WeightsConfig())
            ready = " ".join(reason.partition(":")[0].split()[:3]) if reason else "ready"
            lines.append((scorer.name, scorer.direction.arrow, ready, scorer.summary))
        _show(family.replace("_", " "), lines)
    say(_LEGEND)


def _show(title: str, lines: Sequence[Sequence[str]]) -> None:
    """A title and a line for each entry. What a terminal has no room for is cut at the end; piped, nothing is."""
    width = console().width
    columns = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)]
    say(title)
    for line in lines:
        text = visible("  ".join(["", *(cell.ljust(n) for cell, n in zip(line, columns, strict=False)), line[-1]]))
        say(text if len(text) <= width else text[: width - 1] + "…")
    say("")


def _details(scorer: Scorer, suites: list[str]) -> Table:
    from rich.table import Table

    from avbench.encoders import WeightsConfig

    low, high = scorer.range
    rows = {
        "what": scorer.summary,
        "better": scorer.direction.phrase,
        "unit": scorer.unit,
        "range": f"{low:g} to {high:g}",
        "judges": _JUDGES[scorer.level],
        "needs": ", ".join(sorted(scorer.needs)),
        "family": scorer.family.replace("_", " "),
        "suites": ", ".join(suites) or "none",
        "checkpoint": scorer.checkpoint or "none",
        "licence": scorer.licence or "none needed",
        "ready": scorer.unavailable(WeightsConfig()) or "yes",
        "caveat": scorer.caveat,
        "source": scorer.source,
        "version": str(scorer.version),
    }
    table = Table(title=cell(scorer.name), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows.items():
        if text:
            table.add_row(label, cell(text))
    return table
