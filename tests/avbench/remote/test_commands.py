"""Other commands with remote sources."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from avbench.cli import app

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
