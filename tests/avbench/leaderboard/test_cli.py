"""`avbench leaderboard` as a subprocess, and the commands of its page of the documentation."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys

import pytest

from .conftest import FIGURES, REPOSITORY, edit_run, figure

COMMAND = re.compile(r"^avbench (.*)$", re.MULTILINE)


def test_check_prints_one_line_per_problem(avbench, make_folder):
    folder = make_folder(lines=[*FIGURES, figure(row="x", unit="s"), figure(row="y", direction="lower")])
    done = avbench("leaderboard", "check", "--folder", folder)
    assert done.returncode == 2
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == [
        f"{folder}/published/p.csv line 6, column unit",
        f"{folder}/published/p.csv line 7, column direction",
    ]


def test_build_refuses_a_wrong_table_in_one_line(avbench, make_folder):
    folder = make_folder(lines=[*FIGURES, figure(row="x", unit="s")])
    done = avbench("leaderboard", "build", "--folder", folder)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "line 6, column unit: 's', expected '1' for vq" in done.stderr
    assert not (folder / "rendered").exists()


def test_build_and_build_check(avbench, make_folder):
    folder = make_folder()
    missing = avbench("leaderboard", "build", "--check", "--folder", folder)
    assert missing.returncode == 1
    assert "main.md: missing" in missing.stderr
    assert not (folder / "rendered").exists()
    done = avbench("leaderboard", "build", "--folder", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{folder / 'rendered' / 'main.md'}" in done.stdout.splitlines()
    assert avbench("leaderboard", "build", "--check", "--folder", folder).returncode == 0


def test_a_folder_that_is_none_is_one_line(avbench, tmp_path):
    for arguments in (("check",), ("build",), ("build", "--check")):
        done = avbench("leaderboard", *arguments, cwd=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert "leaderboards is not a leaderboards folder" in done.stderr


def test_add_refuses_keyed_random_weights_and_writes_nothing(avbench, make_folder, run_path, tmp_path):
    folder, random = make_folder(), edit_run(run_path, tmp_path / "random", weights="keyed-random-reduced")
    about = ("--benchmark", "b", "--seeds", "0", "--folder", folder)
    done = avbench("leaderboard", "add", run_path, random, *about)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "keyed-random-reduced weights" in done.stderr
    assert not (folder / "measured").exists(), "all runs or none"
    assert avbench("leaderboard", "add", run_path, *about).returncode == 0
    assert avbench("leaderboard", "check", "--folder", folder).returncode == 0


@pytest.mark.parametrize("missing", ["--benchmark", "--seeds"])
def test_add_wants_benchmark_and_seeds(avbench, make_folder, missing):
    given = {"--benchmark": "b", "--seeds": "0"}
    del given[missing]
    done = avbench("leaderboard", "add", "run", *next(iter(given.items())), "--folder", make_folder())
    assert done.returncode == 2
    assert missing in done.stderr


@pytest.mark.long
def test_the_light_core_is_enough(own):
    import subprocess

    code = (
        "import sys; from pathlib import Path; from avbench.leaderboard import render_all;"
        f"render_all(Path({str(own)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.long
def test_commands_of_the_documentation_run(avbench, tmp_path, small_clip):
    shutil.copytree(REPOSITORY / "leaderboards", tmp_path / "leaderboards")
    (tmp_path / "examples" / "clips").mkdir(parents=True)
    shutil.copy(small_clip, tmp_path / "examples" / "clips")
    blocks = re.findall(
        r"^```text\n(.*?)^```$", (REPOSITORY / "docs" / "leaderboards.md").read_text("utf-8"), re.M | re.S
    )
    commands = [command for block in blocks for command in COMMAND.findall(block)]
    assert len(commands) == 5
    for command in commands:
        done = avbench(*shlex.split(command), cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "example clips" in (tmp_path / "leaderboards" / "measured" / "runs.csv").read_text(encoding="utf-8")
