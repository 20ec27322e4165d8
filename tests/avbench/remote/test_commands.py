"""Other commands with remote sources."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from avbench.api import score_clips
from avbench.cli import app
from avbench.remote.run_folders import upload_run

MESSAGE = "Copy the clips to this machine first"


@pytest.fixture
def source(store, small_clip) -> str:
    store.write("clips/a.mp4", small_clip.read_bytes())
    store.write("clips/bad.mp4", b"no video")
    return f"{store.url}/clips"


def test_clips_reads_headers(source):
    done = CliRunner().invoke(app, ["clips", source, "--json"])
    assert done.exit_code == 0
    overview = json.loads(done.stdout)
    assert overview["clips"] == 2
    assert [problem["clip_id"] for problem in overview["problems"]] == ["bad.mp4"]


def test_validate_refuses(source, tmp_path):
    done = CliRunner().invoke(app, ["validate", source, "--out", str(tmp_path / "v")])
    assert MESSAGE in str(done.exception)
    assert not (tmp_path / "v").exists()


def test_report_of_a_remote_run_copies_its_tables(store, source, tmp_path):
    score_clips(source, tmp_path / "run", metrics=["loudness"])
    store.reads.clear()
    upload_run(tmp_path / "run", f"{store.url}/runs/x")
    done = CliRunner().invoke(app, ["report", f"{store.url}/runs/x", "--out", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    assert "a.mp4" in (tmp_path / "page.html").read_text()
    assert {path.rpartition("/")[2] for path in store.reads} == {
        "run.json", "scores.parquet", "clips.parquet", "categories.parquet", "summary.json"
    }  # fmt: skip
