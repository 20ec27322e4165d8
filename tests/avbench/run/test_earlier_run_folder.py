"""A run folder of result schema 1 is resumed and reported: nothing that was scored is scored again or changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from avbench.metrics.base import get_scorers

DATA = Path(__file__).parents[2] / "data" / "run_schema_1"
METRICS = ("loudness", "sharpness", "av_align", "aq", "fvd", "fad")
OPTIONS = ("--weights", "keyed-random-reduced", "--reference", "reference.npz", "--no-cache")

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of three clips, one of them damaged, with their reference set and run folder."""
    return Path(shutil.copytree(DATA, tmp_path / "study"))


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "run" / "scores.parquet").sort_values(["metric", "scope", "clip_id"])


def unchanged(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of metrics whose version is still that of the folder."""
    versions = {scorer.name: scorer.version for scorer in get_scorers(METRICS)}
    return scores[scores["metric"].map(versions) == scores["metric_version"]].reset_index(drop=True)


def test_it_is_complete_and_stays_as_it_is(folder: Path, avbench: Command) -> None:
    before, record = rows(folder), (folder / "run" / "scores.jsonl").read_bytes()
    assert set(before["status"]) == {"ok", "skipped", "error"}
    assert len(unchanged(before)), "every metric has a new version: make the folder again"
    metrics = list(dict.fromkeys(unchanged(before)["metric"]))
    done = avbench("score", "clips", "-o", "run", "-m", ",".join(metrics), *OPTIONS, "--json", cwd=folder)
    assert done.returncode == 3, done.stderr  # the damaged clip is still one
    assert json.loads(done.stdout)["computed"] == 0
    assert json.loads(done.stdout)["failed_clips"] == ["c.mp4"]
    assert (folder / "run" / "scores.jsonl").read_bytes() == record
    assert_frame_equal(unchanged(rows(folder)), unchanged(before))


def test_another_metric_joins_it(folder: Path, avbench: Command) -> None:
    before = rows(folder)
    metrics = ",".join((*METRICS, "true_peak"))
    done = avbench("score", "clips", "-o", "run", "-m", metrics, *OPTIONS, "--json", cwd=folder)
    assert done.returncode == 3, done.stderr
    after = rows(folder)
    assert len(after[after["metric"] == "true_peak"]) == 3
    kept = unchanged(after[after["metric"] != "true_peak"])
    assert_frame_equal(kept, unchanged(before))
    assert len(kept)


def test_it_is_reported(folder: Path, avbench: Command) -> None:
    done = avbench("report", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    page = (folder / "run" / "report.html").read_text()
    assert all(name in page for name in (*METRICS, "c.mp4"))
