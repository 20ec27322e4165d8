"""`avbench doctor`: what is installed, what is wrong, and the cure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from avbench.terminal.output import cell, print_json, show


def command(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Check this machine; exit code 4 when something that avbench needs is broken."""
    from avbench.doctor.diagnosis import diagnose
    from avbench.errors import EnvironmentProblem

    findings = diagnose()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        from rich.table import Table

        table = Table(title="avbench doctor")
        for name in ("", "what", "found", "cure"):
            table.add_column(name, overflow="fold")
        marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "broken": "[red]broken[/]"}
        for finding in findings:
            table.add_row(marks[finding.level], *map(cell, (finding.what, finding.found, finding.cure)))
        show(table)
    broken = [finding.what for finding in findings if finding.level == "broken"]
    if broken:
        raise EnvironmentProblem(f"broken: {', '.join(broken)}; the cures are listed above")
