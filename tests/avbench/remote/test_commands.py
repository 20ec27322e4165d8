"""Other commands with remote sources."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from tar_shards import archive
from typer.testing import CliRunner

from avbench.api import score_clips
from avbench.cli import app
from avbench.errors import EnvironmentProblem, UsageError
from avbench.leaderboard import About, measured_rows
from avbench.remote.run_folders import upload_run
from avbench.report.html import write_report
from avbench.results import load_run
from avbench.sources import load_source

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


@pytest.fixture
def runs(store, small_clip, tmp_path) -> list[str]:
    """Addresses of two runs over clips of equal names."""
    addresses = []
    for name in ("one", "two"):
        store.write(f"{name}/clips/a.mp4", small_clip.read_bytes())
        store.write(f"{name}/clips/b.mp4", small_clip.read_bytes() + name.encode())
        score_clips(f"{store.url}/{name}/clips", tmp_path / name, metrics=["sharpness"])
        addresses.append(f"{store.url}/runs/{name}")
        upload_run(tmp_path / name, addresses[-1])
    return addresses


def test_remote_runs_are_read_as_local_ones_are(runs, tmp_path):
    remote, local = load_run(runs[0]), load_run(tmp_path / "one")
    assert remote.info == local.info
    for table in ("scores", "clips", "categories"):
        pd.testing.assert_frame_equal(getattr(remote, table), getattr(local, table))
    with pytest.raises(UsageError, match="only 'avbench report'"):
        write_report(remote)


def test_check_of_remote_runs(runs, tmp_path):
    done = CliRunner().invoke(app, ["check", runs[0], "-b", runs[1], "--json", str(tmp_path / "found.json")])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["candidate"], found["baseline"], found["clips"]) == (*runs, 2)
    done = CliRunner().invoke(app, ["check", "calibrate", *runs, "--out", str(tmp_path / "noise.toml")])
    assert done.exit_code == 0, done.output
    assert all(run in (tmp_path / "noise.toml").read_text() for run in runs)


def test_leaderboard_takes_remote_runs(runs, tmp_path):
    """A row goes by the name of its run's folder."""
    shutil.copytree(Path(__file__).parents[3] / "leaderboards", tmp_path / "boards")
    words = ["leaderboard", "add", *runs, "--benchmark", "b", "--seeds", "0", "--folder", str(tmp_path / "boards")]
    done = CliRunner().invoke(app, words)
    assert "2 rows added" in done.output, done.exception
    assert [row.row for run in runs for row in measured_rows(load_run(run), About("b", "0"))] == ["one", "two"]


def test_errors_name_the_address_of_a_remote_run(runs, store):
    """Not the copy of the moment."""
    store.files.rm(f"{runs[1]}/clips.parquet")
    for words in (["check", runs[0], "-b", runs[1]], ["report", runs[1]], ["merge", runs[1], "-o", "merged"]):
        message = str(CliRunner().invoke(app, words).exception)
        assert runs[1] in message and "/avbench-run-" not in message, message


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


def test_what_a_command_cannot_do_without_and_may_not_read(store, runs, small_clip):
    """Exit code 4 where a store refuses, whatever it is asked for."""
    store.write("list/manifest.csv", b"video\na.mp4\n")
    store.write("shards/s.tar", archive({"0.mp4": small_clip.read_bytes()}))
    for fault in ("refused", "fail"):
        store.faults = {name: [fault] for name in ("manifest.csv", "s.tar", "run.json")}
        for read in (
            lambda: load_source(f"{store.url}/list/manifest.csv"),
            lambda: load_source(f"{store.url}/shards"),
            lambda: load_run(runs[0]),
        ):
            with pytest.raises(EnvironmentProblem, match=r"Access Denied|reset by peer") as caught:
                read()
            assert store.url in str(caught.value) and "secret" not in str(caught.value)
    store.faults.clear()
    for missing in ("list/other.csv", "shards/other.tar"):
        with pytest.raises(UsageError, match=r"is not there|does not exist"):
            load_source(f"{store.url}/{missing}")


@pytest.mark.parametrize(
    "words",
    [
        ["score", "clips"],
        ["merge", "runs/x"],
        ["report", "runs/x"],
        ["reference", "clips"],
        ["validate", "clips"],
        ["check", "calibrate", "runs/x"],
    ],
)
def test_what_is_written_lies_on_this_machine(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*words, "--out", "s3://key:secret@bucket/x"])
    assert isinstance(done.exception, UsageError) and "--upload" in str(done.exception)
    assert "secret" not in str(done.exception) and not list(tmp_path.iterdir())
