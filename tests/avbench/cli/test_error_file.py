"""AVBENCH_ERROR_FILE: a command that fails leaves its exit code and message for the program that started it."""

from __future__ import annotations

import json
import os

import pytest


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("score", "nowhere"), 2, "nowhere"),
        (("score", "--no-such-option"), 2, "No such option"),
        (("ls", "--metric"), 2, "--metric"),
    ],
)
def test_a_failure_is_left_as_json(avbench, tmp_path, arguments, code, words):
    file = tmp_path / "error.json"
    done = avbench(*arguments, cwd=tmp_path, env={**os.environ, "AVBENCH_ERROR_FILE": str(file)})
    assert done.returncode == code
    left = json.loads(file.read_text())
    assert left["exit_code"] == code
    assert words in left["message"]
    assert left["message"].split("\n")[0] in done.stderr.replace("avbench: ", "")


def test_success_leaves_nothing_and_a_file_that_cannot_be_written_changes_nothing(avbench, tmp_path):
    file = tmp_path / "error.json"
    assert avbench("ls", cwd=tmp_path, env={**os.environ, "AVBENCH_ERROR_FILE": str(file)}).returncode == 0
    assert not file.exists()
    there = str(tmp_path / "no" / "folder" / "error.json")
    done = avbench("score", "nowhere", cwd=tmp_path, env={**os.environ, "AVBENCH_ERROR_FILE": there})
    assert done.returncode == 2 and done.stderr.startswith("avbench: ")


def test_a_crash_is_left_too(avbench, tmp_path):
    (tmp_path / "crash-1.dist-info").mkdir()
    (tmp_path / "crash-1.dist-info" / "entry_points.txt").write_text("[avbench.commands]\ncrash = crash_for_test:run\n")
    (tmp_path / "crash_for_test.py").write_text("def run() -> None:\n    raise ZeroDivisionError('by nothing')\n")
    file = tmp_path / "error.json"
    own = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]), "TMPDIR": str(tmp_path)}
    done = avbench("crash", env={**os.environ, **own, "AVBENCH_ERROR_FILE": str(file)})
    assert done.returncode == 70
    assert json.loads(file.read_text()) == {
        "exit_code": 70,
        "message": "internal error, ZeroDivisionError: by nothing",
    }
