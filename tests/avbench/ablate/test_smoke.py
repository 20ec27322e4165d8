"""The shipped smoke budget with the real trainer: minutes."""

from __future__ import annotations

import csv

import pytest


@pytest.mark.slow
def test_the_miniature_at_smoke_size(avbench, tmp_path):
    import subprocess
    import sys

    command = [sys.executable, "-m", "avbench", "ablate", "--grid", "miniature", "--budget", "smoke", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert {row["variant"] for row in rows} == {"base", "vanilla", "routing", "surgery", "region"}
    assert {"picture", "sound", "sync"} <= {row["metric"] for row in rows if row["rewarded"] == "yes"}
    assert "av_align" in {row["metric"] for row in rows if row["rewarded"] == "no"}
    assert (tmp_path / "out" / "report.html").stat().st_size > 20_000
    again = avbench("ablate", "--grid", "miniature", "--budget", "smoke", "--out", "out", "--dry-run")
    assert "all done" in again.stdout
