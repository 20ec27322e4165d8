"""`avbench doctor`: what is installed, what is wrong, and the cure."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def command(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Check this machine; exit code 4 when something that avbench needs is broken."""
    from avbench.diagnosis import diagnose
    from avbench.errors import EnvironmentProblem

    findings = diagnose()
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title="avbench doctor")
        for name in ("", "what", "found", "cure"):
            table.add_column(name, overflow="fold")
        marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "broken": "[red]broken[/]"}
        for finding in findings:
            # Text, not markup: "[speech]" in a cure is no style.
            table.add_row(marks[finding.level], *map(Text, (finding.what, finding.found, finding.cure)))
        Console().print(table)
    broken = [finding.what for finding in findings if finding.level == "broken"]
    if broken:
        raise EnvironmentProblem(f"broken: {', '.join(broken)}; the cures are listed above")
