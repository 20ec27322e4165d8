"""The results file of the fuzz session: what was tried, and how it ended, with a section for each harness."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avbench.doctor.environment import package_version

PACKAGES = ("avbench", "av", "numpy", "pandas", "pyarrow", "scipy", "torch")


def add_option(parser: argparse.ArgumentParser) -> None:
    """The option that names the results file."""
    parser.add_argument("--results", type=Path, help="JSON file for the figures; those of other harnesses in it stay")


def endings(findings: Sequence[str]) -> dict[str, int]:
    """How many findings are time-outs, tracebacks, signals and others."""
    counts = dict.fromkeys(("timeouts", "tracebacks", "signals", "other_findings"), 0)
    for text in findings:
        if "Traceback" in text:
            counts["tracebacks"] += 1
        elif "hang" in text.lower() or "took " in text or "seconds_per_clip" in text or "more than" in text:
            counts["timeouts"] += 1
        else:
            counts["signals" if "ended by SIG" in text else "other_findings"] += 1
    return counts


def save(path: Path | None, harness: str, figures: dict[str, Any]) -> None:
    """Put the figures of a harness into the results file, beside those of the others; nothing without a path."""
    if path is None:
        return
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    packages = {name: number for name in PACKAGES if (number := package_version(name))}
    machine = {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    section = {"date": datetime.now(UTC).isoformat(timespec="seconds"), **figures, **machine, "packages": packages}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(old | {harness: section}, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
