"""No command needs a home folder: HOME may be unset without an entry for the user, missing or not writable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from avbench.files import expand_home, home_folder

# All commands in one process, as a user whom the system does not know (containers run with a number that nobody has).
SCRIPT = """
import json, pwd, sys
def unknown(*_):
    raise KeyError("no such user")
pwd.getpwuid = unknown
from typer.testing import CliRunner
from avbench.cli import app
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, command)
    if done.exit_code:
        sys.exit(f"{command}: {done.exit_code}, {done.exception!r}, {done.output}")
"""
HIDDEN = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "AVBENCH_CACHE", "AVBENCH_WEIGHTS")


@pytest.mark.long
@pytest.mark.parametrize("home", [None, "/proc/none"])
def test_commands_run_without_a_home(home, small_clip, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in HIDDEN}
    if home is not None:
        environment["HOME"] = home
    # Weights are asked for and absent: the metric is skipped with its reason.
    score = ["score", str(small_clip), "-m", "tv_ib", "-o", str(tmp_path / "run"), "--no-html"]
    commands = [["ls"], ["models", "list"], ["models", "where"], ["prompts", "list"], ["clips", str(small_clip)], score]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_home_of_a_user_without_one(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert home_folder() == Path("/somewhere")
    assert expand_home("~/x") == Path("/somewhere/x")
    assert expand_home("a/~") == Path("a/~")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert home_folder() == Path("/")
    assert expand_home("~/x") == Path("/x")
