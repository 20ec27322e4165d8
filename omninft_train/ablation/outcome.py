"""The result of an ablation: tables, differences, curves and a page, written into its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.errors import UsageError
from avbench.files import make_folder, write_atomically
from omninft_train.ablation.collect import Results, collect
from omninft_train.ablation.compare import Summary, summarise
from omninft_train.ablation.curves import curve_plots
from omninft_train.ablation.grid import Grid
from omninft_train.ablation.page import Page, render_page
from omninft_train.ablation.published import published_beside
from omninft_train.ablation.runner import unfinished
from omninft_train.ablation.sheet import Sheet, make_sheet
from omninft_train.ablation.state import status
from omninft_train.ablation.steps import Step
from omninft_train.ablation.table_files import differences_csv, latex, markdown, results_csv
from omninft_train.ablation.variants import settings

PAGE, RESULTS, DIFFERENCES, FACTS = "report.html", "results.csv", "differences.csv", "ablation.json"
_BAND = "Line: mean over seeds; band: lowest to highest seed. Rollouts of a step are drawn anew, so rewards scatter."


@dataclass(frozen=True)
class Outcome:
    """Tables and files of an ablation."""

    grid: Grid
    out: Path
    results: Results
    summaries: Mapping[tuple[str, str], Summary]
    sheets: tuple[Sheet, ...]
    files: tuple[str, ...]


def make_outcome(grid: Grid, out: Path, steps: Sequence[Step], again: str, leaderboards: Path) -> Outcome:
    """Make all tables from complete steps, and write them.

    Args:
        grid: the ablation.
        out: its folder.
        steps: all of its steps.
        again: the command line that makes it.
        leaderboards: folder of published figures.

    Raises:
        UsageError: a step is not complete: which, and the command that completes it.
        EnvironmentProblem: a file cannot be written.
    """
    for step in steps:
        if (current := status(out, step)).state != "complete":
            raise UsageError(unfinished(out, step, current.state, again, "tables need all steps"))
    return write_outcome(grid, out, collect(grid, out, list(steps)), again, leaderboards)


def write_outcome(grid: Grid, out: Path, results: Results, again: str, leaderboards: Path) -> Outcome:
    """Make all tables of what was measured, and write them.

    Raises:
        EnvironmentProblem: a file cannot be written.
    """
    summaries = summarise(results, grid.seeds, grid.used)
    sheets = tuple(
        make_sheet(grid, results, table, summaries, published_beside(grid, results, table, leaderboards))
        for table in grid.tables
    )
    files = _write(grid, out, results, summaries, sheets, again)
    return Outcome(grid, out, results, summaries, sheets, files)


def _write(
    grid: Grid,
    out: Path,
    results: Results,
    summaries: Mapping[tuple[str, str], Summary],
    sheets: Sequence[Sheet],
    again: str,
) -> tuple[str, ...]:
    plots = curve_plots(grid, results)
    content: dict[str, bytes] = {}
    for sheet in sheets:
        content[f"tables/{sheet.table.name}.md"] = markdown(sheet, results.notes).encode()
        content[f"tables/{sheet.table.name}.tex"] = latex(sheet, results.notes).encode()
    content[RESULTS] = results_csv(grid, sheets, summaries, results.metrics, results.rewarded).encode()
    content[DIFFERENCES] = differences_csv(sheets, results.metrics).encode()
    for plot in plots:
        content[f"curves/{plot.name}.svg"] = plot.chart.standalone()
    content[FACTS] = (json.dumps(_provenance(grid, again), indent=1, sort_keys=True) + "\n").encode()
    page = Page(
        title=grid.title,
        about=grid.about,
        metadata=_page_metadata(grid, results),
        command=again,
        notes=results.notes,
        sheets=sheets,
        plots=plots,
        plots_note=_BAND if len(grid.seeds) > 1 else "",
        settings=_settings(grid),
        files=tuple(content),
    )
    content[PAGE] = render_page(page).encode("utf-8", "replace")
    for name, data in content.items():
        make_folder((out / name).parent, "--out")
        write_atomically(out / name, data)
    return tuple(content)


def _provenance(grid: Grid, again: str) -> dict[str, Any]:
    return {
        "grid": grid.name,
        "budget": grid.budget,
        "benchmark": grid.benchmark,
        "seeds": list(grid.seeds),
        "tables": [table.name for table in grid.tables],
        "variants": {name: settings(grid, grid.variants[name]) for name in grid.used},
        "recipes": {name: grid.variants[name].recipe for name in grid.used},
        "trainer": {"version": grid.trainer.version, "backbone": grid.trainer.backbone},
        "command": again,
    }


def _page_metadata(grid: Grid, results: Results) -> list[tuple[str, str]]:
    clips = results.clips.drop_duplicates(["variant", "seed", "prompt", "sample"])
    each = len(clips) // max(1, len(clips.drop_duplicates(["variant", "seed"])))
    return [
        ("Grid", grid.name + (f", budget {grid.budget}" if grid.budget else "")),
        ("Benchmark", grid.benchmark or "–"),
        ("Seeds", ", ".join(map(str, grid.seeds))),
        ("Clips of each variant and seed", str(each)),
        ("Trainer", f"{grid.trainer.version}, {grid.trainer.backbone}"),
    ]


def _settings(grid: Grid) -> dict[str, str]:
    texts = {}
    for name in grid.used:
        variant = grid.variants[name]
        changes = " ".join(f"--set {text}" for text in settings(grid, variant))
        what = f"{variant.recipe} {changes}".strip() if variant.recipe else "not trained"
        texts[variant.label] = what + (f" – {variant.about}" if variant.about else "")
    return texts
