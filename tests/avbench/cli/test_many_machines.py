"""What bad input gets on many machines: one line, an exit code, and nothing half written."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def refused(avbench, tmp_path):
    """Runs a command that has to be refused, and gives its line."""

    def run(code: int, *arguments: object, **environment: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        done = avbench(*arguments, cwd=tmp_path, env={**os.environ, **environment})
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert sorted(tmp_path.rglob("*")) == before
        return done.stderr

    return run


@pytest.mark.parametrize(("shard", "words"), [("5/4", "1/4 to 4/4"), ("0/4", "no such shard"), ("3", "INDEX/COUNT")])
def test_a_shard_out_of_range(refused, small_clip, shard, words):
    assert words in refused(2, "score", small_clip, "-m", "silence_share", "--shard", shard, "--out", "run")


def test_shards_of_different_suites(avbench, refused, small_clip, tmp_path):
    for index, chosen in ((1, ("-m", "silence_share")), (2, ("--suite", "quick"))):
        words = ["score", small_clip, "--shard", f"{index}/2", "--out", f"s{index}", "-q", "--no-html", *chosen]
        assert avbench(*words, cwd=tmp_path).returncode == 0
    line = refused(2, "merge", "s1", "s2", "--out", "merged")
    assert "s1 and s2 are not shards of one run: suite custom and quick" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gpus-per-worker", "0.5"], "go with --backend ray"),
        (["--backend", "ray", "--resources", "CPU"], "expected NAME=NUMBER"),
        (["--backend", "ray", "--gpus-per-worker", "1.5"], "a whole number, got 1.5"),
        (["--backend", "ray", "--device", "cpu"], "--gpus-per-worker says where networks run"),
    ],
)
def test_options_of_a_cluster(refused, small_clip, options, words):
    assert words in refused(2, "score", small_clip, "-m", "silence_share", "--out", "run", *options)


def test_a_cluster_without_ray(refused, small_clip, tmp_path):
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "ray.py").write_text("raise ImportError('hidden')\n")
    words = ["score", small_clip, "-m", "silence_share", "--out", "run", "--backend", "ray"]
    line = refused(4, *words, PYTHONPATH=str(tmp_path / "hidden"), PYTHONDONTWRITEBYTECODE="1")
    assert "pip install 'avbench[ray]'" in line
