"""Clips and run folders on an S3 server of this machine (moto's), and what is said where it refuses."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")

import ray_clips  # noqa: E402
import s3fs  # noqa: E402

from avbench.__main__ import main  # noqa: E402
from avbench.api import score_clips  # noqa: E402
from avbench.results import load_run  # noqa: E402

# Only the session 'slow' installs s3fs and moto.
pytestmark = pytest.mark.slow

SAME = ["clip_id", "metric", "value", "status", "reason", "clip_sha256", "detail"]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an empty bucket."""
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"clips-{uuid.uuid4().hex}"  # the server shares its buckets with others of this process
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


def run(*arguments: str) -> int:
    import sys

    before = sys.argv
    sys.argv = ["avbench", *arguments]
    try:
        return main() or 0
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before


def test_scores_uploads_and_reports(bucket, tmp_path, small_clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(small_clip, folder / "a.mp4")
    shutil.copy(small_clip, folder / "b.mp4")
    s3fs.S3FileSystem().put(str(folder), f"{bucket}/", recursive=True)
    local = score_clips(folder, tmp_path / "local", metrics=["loudness"]).scores
    command = ["score", f"{bucket}/clips/", "-m", "loudness", "--out", "run", "--upload", f"{bucket}/runs/x", "-q"]
    assert run(*command, "--workers", "2") == 0
    pd.testing.assert_frame_equal(local[SAME], load_run(tmp_path / "run").scores[SAME])
    before = (tmp_path / "run" / "scores.jsonl").read_bytes()
    assert run(*command) == 0
    assert (tmp_path / "run" / "scores.jsonl").read_bytes() == before
    assert run("report", f"{bucket}/runs/x", "--out", "page.html") == 0
    assert "a.mp4" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("command", ["score", "report"])
def test_missing_bucket(bucket, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    assert run(command, "s3://no-such-bucket/x") == 2
    message = capsys.readouterr().err
    assert "s3://no-such-bucket/x" in message
    assert len(message.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_no_permission(bucket, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def refused(*_: object, **__: object) -> object:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(s3fs.S3FileSystem, "find", refused)
    s3fs.S3FileSystem.clear_instance_cache()  # instances hold the method that they were made with
    assert run("score", f"{bucket}/clips") == 4
    assert "Access Denied" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_upload_that_fails_keeps_the_run(bucket, tmp_path, small_clip, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("score", str(small_clip), "-m", "loudness", "--out", "run", "--upload", "s3://no-such-bucket/x") == 4
    assert "the run is complete in run" in capsys.readouterr().err
    assert (load_run(Path("run")).scores["status"] == "ok").all()


def test_actors_of_a_cluster_fetch_the_clips(bucket, tmp_path):
    pytest.importorskip("ray")
    folder = ray_clips.write_clips(tmp_path / "clips", 3)
    s3fs.S3FileSystem().put(str(folder), f"{bucket}/", recursive=True)
    assert ray_clips.run(ray_clips.command(folder, tmp_path / "local")).returncode == 0
    words = ray_clips.command(f"{bucket}/clips", tmp_path / "ray", "--backend", "ray", "--workers", 2)
    done = ray_clips.run(words)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(ray_clips.table(tmp_path / "ray"), ray_clips.table(tmp_path / "local"))
    log = (tmp_path / "ray" / "scores.jsonl").read_bytes()
    assert ray_clips.run(words).returncode == 0
    assert (tmp_path / "ray" / "scores.jsonl").read_bytes() == log
