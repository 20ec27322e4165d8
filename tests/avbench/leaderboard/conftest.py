"""A small leaderboards folder to break, and the repository's own."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avbench.leaderboard.schema import MEASURED_COLUMNS, PUBLISHED_COLUMNS, MeasuredRow

REPOSITORY = Path(__file__).parent.parent.parent.parent

QUANTITIES = """\
quantity,label,group,unit,direction,low,high,avbench,meaning
vq,VQ,JavisBench,1,higher,,,vq,quality of the picture
desync,DeSync,JavisBench,s,lower,0,2,desync,size of the offset
aq_pc,PC,AudioBox,1,either,1,10,aq_pc,complexity
"""
CONFLICTS = """\
[C1]
title = "A doubtful label"
text = "Two readings disagree."
"""
VIEWS = """\
[[view]]
name = "main"
title = "Main table"
columns = ["vq", "desync"]
baseline = "base"
rows = [
  { label = "base", from = [{ paper = "P", table = "T", row = "base" }] },
  { label = "tuned", from = [{ paper = "P", table = "T", row = "tuned" }] },
  { label = "unknown", from = [] },
]

[[view]]
name = "measured"
title = "Measured"
select = { provenance = "measured" }
"""


def figure(**cells: str) -> dict[str, str]:
    """A line of a published table that is right, but for what is given."""
    right = {
        "paper": "P", "arxiv_id": "2605.12480", "table": "T", "benchmark": "B", "row": "base", "setting": "",
        "backbone": "M", "method": "base", "metric": "VQ", "quantity": "vq", "statistic": "value", "value": "2.0",
        "unit": "1", "direction": "higher", "source": "the paper", "status": "one-source", "conflict": "", "note": "",
    }  # fmt: skip
    return right | cells


FIGURES = (
    figure(),
    figure(metric="DeSync", quantity="desync", value="0.50", unit="s", direction="lower"),
    figure(row="tuned", method="RL", value="3.00"),
    figure(
        row="tuned", method="RL", metric="DeSync", quantity="desync", value="0.400", unit="s", direction="lower",
        status="conflicting", conflict="C1",
    ),
)  # fmt: skip


def measured(**cells: str) -> MeasuredRow:
    """A measured row that is right, but for what is given."""
    right = {
        "benchmark": "B", "row": "mine", "setting": "", "backbone": "M", "method": "base", "metric": "vq",
        "quantity": "vq", "mode": "fixed", "value": "2.5", "spread": "", "low": "2.4", "high": "2.6", "n": "9",
        "n_of": "10", "unit": "1", "direction": "higher", "run_digest": "0123456789abcdef", "weights_digest": "feed",
        "weights": "checkpoints", "precision": "fp32", "protocol": "", "generator_digest": "", "seeds": "0 1",
        "machine": "2 cores", "date": "2026-11-25", "avbench_version": "0.1.0", "command": "avbench score x",
        "note": "",
    }  # fmt: skip
    return MeasuredRow(**(right | cells))


def write_figures(folder: Path, lines: Any) -> None:
    write_by_hand(folder / "published" / "p.csv", PUBLISHED_COLUMNS, lines)


def write_measured(folder: Path, rows: Any, name: str = "runs.csv") -> None:
    (folder / "measured").mkdir(exist_ok=True)
    write_by_hand(folder / "measured" / name, MEASURED_COLUMNS, map(dataclasses.asdict, rows))


def write_by_hand(path: Path, columns: Any, rows: Any) -> None:
    """A table as someone else writes it: no cell is made harmless or tidy."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with two models, four figures and one conflict; its lines, rows or views can be replaced."""

    def make(lines: Any = FIGURES, rows: Any = (), views: str = VIEWS, conflicts: str = CONFLICTS) -> Path:
        folder = tmp_path / "leaderboards"
        (folder / "published").mkdir(parents=True, exist_ok=True)
        (folder / "quantities.csv").write_text(QUANTITIES, encoding="utf-8")
        (folder / "conflicts.toml").write_text(conflicts, encoding="utf-8")
        (folder / "views.toml").write_text(views, encoding="utf-8")
        write_figures(folder, lines)
        if rows:
            write_measured(folder, rows)
        return folder

    return make


@pytest.fixture(scope="session")
def own() -> Path:
    """The repository's leaderboards folder."""
    return REPOSITORY / "leaderboards"


@pytest.fixture(scope="session")
def run_path(tmp_path_factory: pytest.TempPathFactory, small_clip: Path) -> Path:
    """A run with three metrics over one drawn clip."""
    from avbench import score_clips

    folder = tmp_path_factory.mktemp("runs") / "run"
    score_clips(str(small_clip), str(folder), metrics=["loudness", "temporal_flickering", "true_peak"])
    return folder


def edit_run(run_path: Path, copy: Path, **facts: object) -> Path:
    """A copy of a run with other facts in run.json; ... takes one away."""
    shutil.copytree(run_path, copy)
    info = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({k: v for k, v in (info | facts).items() if v is not ...}))
    return copy
