"""Measure avbench against baselines in the same process; print a table, write benchmarks/results/.

    python benchmarks/run.py [--only NAME ...] [--quick] [--out FILE]

Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from figures import Figure
from media_figures import av_align_figures, decode_figures
from rich.console import Console
from rich.table import Table
from run_figures import cli_figures, memory_figures, resume_figures, throughput_figures

GROUPS = {  # name: (function, rounds, rounds with --quick)
    "cli": (cli_figures, 1, 1),
    "decode": (decode_figures, 9, 3),
    "av_align": (av_align_figures, 2, 1),
    "resume": (resume_figures, 2, 1),
    "throughput": (throughput_figures, 2, 1),
    "memory": (memory_figures, 1, 1),
}
PACKAGES = ("avbench", "av", "numpy", "scipy", "opencv-python-headless", "librosa", "pandas", "pyarrow")


def machine() -> dict[str, Any]:
    """Where the figures were measured."""
    cpu_file = Path("/proc/cpuinfo")
    lines = cpu_file.read_text().splitlines() if cpu_file.exists() else []
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def show(figures: list[Figure]) -> None:
    """The table."""
    table = Table(title="benchmarks")
    for column in ("figure", "value", "target", "met"):
        table.add_column(column, justify="right" if column in ("value", "target") else "left")
    for figure in figures:
        met = {None: "-", True: "[green]yes[/]", False: "[red]no[/]"}[figure.met]
        note = " (others busy)" if figure.disturbed else ""
        table.add_row(figure.name, f"{figure.value:.3g} {figure.unit}", figure.target, met + note)
    Console().print(table)


def main() -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(GROUPS), metavar="NAME", help=", ".join(GROUPS))
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument(
        "--out", type=Path, help="JSON file; default benchmarks/results/<date>-cpu.json for a whole run"
    )
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="avbench-bench-") as name:
        for group in options.only or GROUPS:
            start = time.perf_counter()
            measure, rounds, quick_rounds = GROUPS[group]
            figures += measure(Path(name), quick_rounds if options.quick else rounds)
            sys.stderr.write(f"{group}: {time.perf_counter() - start:.0f} s\n")
    show(figures)
    now = datetime.now(UTC)
    out = options.out
    if out is None and not options.only:
        out = Path(__file__).parent / "results" / f"{now:%Y-%m-%d}-cpu.json"
    if out is not None:
        report = {"date": now.isoformat(timespec="seconds"), "quick": options.quick, "machine": machine()}
        report["figures"] = [figure.as_json() for figure in figures]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        sys.stderr.write(f"written: {out}\n")
    return 1 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
