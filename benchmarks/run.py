"""Measure avbench against baselines in the same process; print a table, write benchmarks/results/.

    python benchmarks/run.py [--only NAME ...] [--quick] [--out FILE]
    python benchmarks/run.py --javisbench [--networks full|reduced] [--only NAME ...] [--max-resident N] [--out FILE]
    python benchmarks/run.py --vbench [--networks full|reduced] [--only NAME ...] [--out FILE]

Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from figures import Figure
from media_figures import av_align_figures, decode_figures
from rich.console import Console
from rich.table import Table
from run_figures import cli_figures, memory_figures, resume_figures, throughput_figures

from avbench.doctor.environment import package_version

GROUPS = {  # name: (function, rounds, rounds with --quick)
    "cli": (cli_figures, 1, 1),
    "decode": (decode_figures, 9, 3),
    "av_align": (av_align_figures, 2, 1),
    "resume": (resume_figures, 2, 1),
    "throughput": (throughput_figures, 2, 1),
    "memory": (memory_figures, 1, 1),
}
VBENCH_GROUPS = ("floor", "schedule", "together", "memory")
JAVISBENCH_GROUPS = ("counts", "floor", "schedule", "cache", "precision", "network_memory", "device")
PACKAGES = ("avbench", "av", "numpy", "scipy", "opencv-python-headless", "librosa", "pandas", "pyarrow")
NETWORK_PACKAGES = ("torch", "torchvision", "transformers", "open-clip-torch", "soundfile", "soxr")


@dataclass
class Report:
    """What goes into the results file, which is written anew after each step: a stop loses nothing."""

    path: Path | None
    metadata: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def save(self) -> None:
        """Write to a temporary name, then rename."""
        if self.path is None:
            return
        content = self.metadata | ({"steps": self.steps} if self.steps else {})
        content["figures"] = [figure.as_json() for figure in self.figures]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.path)


def machine(packages: tuple[str, ...]) -> dict[str, Any]:
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
        "packages": {name: number for name in packages if (number := package_version(name))},
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


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", action="append", metavar="NAME", help=", ".join((*GROUPS, *JAVISBENCH_GROUPS, *VBENCH_GROUPS))
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--out", type=Path, help="JSON file; default a file in benchmarks/results/ for a whole run")
    parser.add_argument("--javisbench", action="store_true", help="metrics with large networks instead; needs [models]")
    parser.add_argument("--vbench", action="store_true", help="VBench's quality dimensions instead; needs [models]")
    parser.add_argument("--networks", choices=("full", "reduced"), default="full", help="of either of the two")
    parser.add_argument(
        "--max-resident",
        type=int,
        default=10,
        help="networks kept loaded with --javisbench; all six take 16 GB in fp32",
    )
    options = parser.parse_args()
    known = VBENCH_GROUPS if options.vbench else JAVISBENCH_GROUPS if options.javisbench else tuple(GROUPS)
    if unknown := set(options.only or ()) - set(known):
        parser.error(f"--only {', '.join(sorted(unknown))}: not one of {', '.join(known)}")
    options.groups = [name for name in known if name in (options.only or known)]
    return options


def plan(options: argparse.Namespace, report: Report, folder: Path) -> dict[str, Callable[[], list[Figure]]]:
    """What measures each chosen group."""
    if options.javisbench:
        return plan_javisbench(options, report, folder)
    if options.vbench:
        return plan_vbench(options, report, folder)
    rounds = {name: GROUPS[name][2 if options.quick else 1] for name in options.groups}
    return {name: lambda name=name: GROUPS[name][0](folder, rounds[name]) for name in options.groups}


def plan_javisbench(options: argparse.Namespace, report: Report, folder: Path) -> dict[str, Callable[[], list[Figure]]]:
    """The same for metrics with large networks; imports torch."""
    import javisbench_figures as figures
    import torch
    from device_figures import device_figures
    from network_runs import SharedRuns
    from observed import Log

    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    report.metadata["machine"] |= {
        "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
        "torch_threads": torch.get_num_threads(),
    }
    rounds = 1 if options.quick or options.networks == "full" else 3
    bench = SharedRuns(folder, options.networks, rounds, options.max_resident, Log(report.save, report.steps), device)
    functions = {
        "counts": figures.counts_figures,
        "floor": figures.floor_figures,
        "schedule": figures.schedule_figures,
        "cache": figures.cache_figures,
        "precision": figures.precision_figures,
        "network_memory": figures.memory_figures,
        "device": device_figures,
    }
    return {name: lambda name=name: functions[name](bench) for name in options.groups}


def plan_vbench(options: argparse.Namespace, report: Report, folder: Path) -> dict[str, Callable[[], list[Figure]]]:
    """The same for VBench's quality dimensions; imports torch."""
    from observed import Log
    from vbench_figures import FIGURES, VBenchRuns

    runs = VBenchRuns(folder, options.networks, Log(report.save, report.steps))
    return {name: lambda name=name: FIGURES[name](runs) for name in options.groups}


def main() -> int:
    """Parse, measure, print, write."""
    options = parse()
    now = datetime.now(UTC)
    out = options.out
    if out is None and not options.only:
        suite = "vbench" if options.vbench else "javisbench" if options.javisbench else ""
        kind = f"{suite}-{options.networks}" if suite else "cpu"
        out = Path(__file__).parent / "results" / f"{now:%Y-%m-%d}-{kind}.json"
    networks = options.javisbench or options.vbench
    packages = PACKAGES + NETWORK_PACKAGES if networks else PACKAGES
    metadata = {"date": now.isoformat(timespec="seconds"), "quick": options.quick, "machine": machine(packages)}
    report = Report(out, metadata | ({"networks": options.networks} if networks else {}))
    with tempfile.TemporaryDirectory(prefix="avbench-bench-") as name:
        for group, measure in plan(options, report, Path(name)).items():
            start = time.perf_counter()
            report.figures += measure()
            report.save()
            sys.stderr.write(f"{group}: {time.perf_counter() - start:.0f} s\n")
    show(report.figures)
    if out is not None:
        sys.stderr.write(f"written: {out}\n")
    return 1 if any(figure.met is False for figure in report.figures) else 0


if __name__ == "__main__":
    sys.exit(main())
