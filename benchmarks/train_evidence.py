"""Runs of the miniature for each recipe and seed, evaluated before and after; results as one table.

    python benchmarks/train_evidence.py FOLDER [--seeds 0 1 2] [--steps 60] [--jobs 2] [--collect OUT]

A run that is in FOLDER is not repeated; one that was interrupted goes on from its last checkpoint. Each run uses one
thread, and `--jobs` of them run side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

RECIPES = ("vanilla", "omninft-routing", "omninft-routing-surgery", "omninft")
SAMPLES = 8  # clips of each of 16 prompts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--collect", type=Path, help="folder for logs and table, without training anything")
    options = parser.parse_args()
    runs = [(recipe, seed) for seed in options.seeds for recipe in RECIPES]
    if options.collect is None:
        weights = trainer("pretrain", "--out", str(options.folder / "pretraining")).strip()
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda run: one(options.folder, *run, weights, options.steps), runs))
    table = collect(options.folder, runs)
    if options.collect is not None:
        options.collect.mkdir(parents=True, exist_ok=True)
        for recipe, seed in runs:
            keep_log(options.folder / f"{recipe}-{seed}", options.collect / f"{recipe}-{seed}.jsonl")
        (options.collect / "summary.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(table, indent=1))


def trainer(*arguments: str) -> str:
    """Run the trainer on one thread; what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "omninft_train", *arguments]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def one(folder: Path, recipe: str, seed: int, weights: str, steps: int) -> None:
    """Train, and evaluate policy and reference on equal noise."""
    run = folder / f"{recipe}-{seed}"
    settings = {"backbone.path": json.dumps(weights), "run.seed": seed, "run.steps": steps, "run.probe_every": 10}
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    trainer("train", "--out", str(run), "--recipe", recipe, "--backbone", "miniature", *pairs)
    for role in ("reference", "policy"):
        out = run / f"{role}.json"
        if not out.exists():
            trainer("evaluate", str(run), "--out", str(out), "--role", role, "--samples", str(SAMPLES), "--seed", "7")


def collect(folder: Path, runs: list[tuple[str, int]]) -> dict[str, Any]:
    """Change of every metric from before to after, by recipe: one value per seed, mean and deviation."""
    table: dict[str, Any] = {}
    for recipe, seed in runs:
        before, after = (load(folder / f"{recipe}-{seed}" / f"{role}.json") for role in ("reference", "policy"))
        for name, value in after.items():
            row = table.setdefault(recipe, {}).setdefault(name, {"before": before[name], "after": []})
            row["after"].append(value)
    for rows in table.values():
        for row in rows.values():
            known = [value for value in row["after"] if value is not None]
            row["mean"] = fmean(known) if known else None
            row["deviation"] = stdev(known) if len(known) > 1 else None
    return table


def load(path: Path) -> dict[str, float | None]:
    """Mean of each metric of an evaluation."""
    content = json.loads(path.read_text(encoding="utf-8"))
    means: dict[str, float | None] = dict(content["sets"])
    for name, metric in content["metrics"].items():
        values = [value for value in metric["values"] if value is not None]
        means[name] = fmean(values) if values else None
    return means


def keep_log(run: Path, out: Path) -> None:
    """The log of a run, rounded."""
    lines = [
        json.dumps(json.loads(line, parse_float=lambda text: float(f"{float(text):.6g}")))
        for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
