"""The shipped smoke budget with the real trainer, and the real Ray: minutes."""

from __future__ import annotations

import csv
import subprocess
import sys

import pytest


def run(tmp_path, *arguments: object) -> str:
    command = [sys.executable, "-m", "avbench", "ablate", *map(str, arguments)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_miniature_at_smoke_size(tmp_path):
    grid = ("--grid", "miniature", "--budget", "smoke", "--out", "out")
    run(tmp_path, *grid)
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert {row["variant"] for row in rows} == {"base", "vanilla", "routing", "surgery", "region"}
    assert {"picture", "sound", "sync"} <= {row["metric"] for row in rows if row["rewarded"] == "yes"}
    assert "av_align" in {row["metric"] for row in rows if row["rewarded"] == "no"}
    assert (tmp_path / "out" / "report.html").stat().st_size > 20_000
    assert "all done" in run(tmp_path, *grid, "--dry-run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grid", "variants", "metrics"),
    [
        (
            "crowd",
            {"base", "vanilla", "routing", "surgery", "region", "wall", "strong"},
            {"motion", "weight_on_sounding"},
        ),
        ("methods", {"base", "gdpo", "omninft", "marble", "arr"}, {"picture", "impact_distance"}),
    ],
)
def test_the_other_grids_of_miniatures_at_smoke_size(grid, variants, metrics, tmp_path):
    run(tmp_path, "--grid", grid, "--budget", "smoke", "--out", "out")
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert {row["variant"] for row in rows} == variants
    assert metrics <= {row["metric"] for row in rows}


@pytest.mark.slow
def test_ray_itself_gives_the_same_results(small_grid, tmp_path):
    pytest.importorskip("ray")
    run(tmp_path, "--grid", small_grid, "--out", "ray", "--backend", "ray", "-q")
    run(tmp_path, "--grid", small_grid, "--out", "local", "-q")
    for name in ("results.csv", "differences.csv"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
