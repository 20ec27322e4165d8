"""`avbench doctor`: versions, problems and their cures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from avbench.terminal.output import print_json


def command(as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Check this machine; exit code 4 when something that avbench needs is broken."""
    from avbench.doctor.diagnosis import diagnose
    from avbench.errors import EnvironmentProblem

    findings = diagnose()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        from avbench.pages.table import Cell, Column, Row, Table, Tone
        from avbench.pages.terminal import print_table

        tones: dict[str, Tone] = {"ok": "good", "note": "warn", "broken": "bad"}
        columns = (Column("level", "", "word"), *(Column(name, name, "text") for name in ("what", "found", "cure")))
        rows = []
        for finding in findings:
            texts = (finding.what, finding.found, finding.cure)
            rows.append(Row((Cell(finding.level, tone=tones[finding.level]), *map(Cell, texts))))
        print_table(Table("avbench doctor", columns, tuple(rows)))
    broken = [finding.what for finding in findings if finding.level == "broken"]
    if broken:
        raise EnvironmentProblem(f"broken: {', '.join(broken)}; the cures are listed above")
