"""The command line, as processes: what it prints, its exit codes, and errors of one line.

Each start costs seconds, so a test asks for more than one thing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omninft_train.cli import app
from omninft_train.cli.score import figures
from omninft_train.recipe import load, to_toml

COMMAND = (sys.executable, "-m", "omninft_train")
COMMANDS = (
    "miniature",
    "show-config",
    "train",
    "sample",
    "score",
    "evaluate",
    "conflicts",
    "export",
    "report",
    "pretrain",
)


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    found = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert found.returncode == code, found.stderr
    return found


def told(arguments: Sequence[object], code: int) -> str:
    """The one line of an error."""
    found = run(*arguments, code=code)
    assert found.stdout == ""
    assert found.stderr.startswith("omninft-train: ") and found.stderr.count("\n") == 1, found.stderr
    return found.stderr


def test_help_names_commands_and_exit_codes():
    text = run("--help").stdout
    assert all(f"  {name} " in text for name in COMMANDS)
    for said in ("0 ok", "2 wrong usage", "3 training stopped", "4 environment", "130 interrupted"):
        assert said in " ".join(text.split())


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("sample", "samples", -2), ("sample", "steps", -3), ("sample", "batch", -1), ("sample", "limit", 0),
        ("evaluate", "samples", 0), ("evaluate", "steps", -3), ("conflicts", "prompts", -79),
        ("conflicts", "group-size", -2), ("miniature", "samples", 0),
    ],
)  # fmt: skip
def test_counts_start_at_one(name: str, option: str, value: int, tmp_path: Path):
    """What is taken from the end of a list, or of nothing, would be written without a word."""
    run_folder = [] if name == "miniature" else [str(tmp_path)]
    command = [name, *run_folder, "--out", str(tmp_path / "out"), f"--{option}", str(value)]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 2 and f"Invalid value for '--{option}'" in found.output
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_show_config_prints_a_recipe_that_it_takes_back(tmp_path: Path):
    options = ("--backbone", "ltx2", "--set", "run.steps=7", "--set", "backbone.path=a b/c", "--set", "preset=paper")
    first = run("show-config", "--recipe", "gdpo", *options).stdout
    assert first == to_toml(load("gdpo", "ltx2", [options[i] for i in (3, 5, 7)]))
    path = tmp_path / "own.toml"
    path.write_text(first)
    second = run("show-config", "--recipe", path).stdout
    again = tmp_path / "again.toml"
    again.write_text(second)
    assert load(path) == load(again)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show-config", "--set", "run.stepz=1"), "unknown key 'run.stepz'. Did you mean steps?"),
        pytest.param(
            ("train", "--out", "{tmp}/run", "--recipe", "gdpo"), "backbone.path is empty", marks=pytest.mark.long
        ),
        pytest.param(
            ("export", "{tmp}", "--out", "{tmp}/out"),
            "holds no checkpoint. Train first: omninft-train train --out {tmp}",
            marks=pytest.mark.long,
        ),
        pytest.param(
            ("pretrain", "--out", "{tmp}/pre", "--steps", "0"),
            "steps = 0: must be at least 1",
            marks=pytest.mark.long,
        ),
    ],
)
def test_wrong_usage_is_exit_2_and_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path):
    filled = [part.replace("{tmp}", str(tmp_path)) for part in arguments]
    assert said.replace("{tmp}", str(tmp_path)) in told(filled, 2)
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_options_that_there_are_not_are_exit_2():
    assert "No such option" in run("train", "--outt", "x", code=2).stderr
    assert "Missing option" in run("train", code=2).stderr
    assert "No such command" in run("trian", code=2).stderr


def test_rewards_of_clips_have_intervals_over_prompts():
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, None]
    assert figures(values, list("abcdefg")) == ("3.5000", "1.5367 to 5.4633", "6", "1")
    assert figures(values, list("aabbccd")) == ("3.5000", "fewer than 6 prompts", "6", "1")
    assert figures([None], ["a"]) == ("", "fewer than 6 prompts", "0", "1")


@pytest.mark.long
def test_an_unwritable_folder_is_exit_4(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in told(("pretrain", "--out", tmp_path / "file"), 4)


@pytest.mark.skipif(os.name == "nt", reason="needs a named pipe and signals")
@pytest.mark.long
def test_an_interrupt_is_exit_130(tmp_path: Path):
    pipe = tmp_path / "own.toml"
    os.mkfifo(pipe)
    command = [*COMMAND, "show-config", "--recipe", str(pipe)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process, pipe.open("w"):  # waits until it reads, and keeps it waiting
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stdout == "" and "Traceback" not in stderr


@pytest.mark.slow
def test_everything_on_the_smallest_scale(tmp_path: Path):
    out, small = tmp_path / "out", tmp_path / "small.toml"
    small.write_text(
        'recipe = "omninft"\n[run]\nsteps = 2\nsave_every = 1\neval_every = 1\n[prompts]\ngroups = 2\ngroup_size = 2\n'
        "[sampling]\nsteps = 3\n[evaluation]\nsamples = 1\n"
    )
    command = ("miniature", "--out", out, "--recipe", small, "--pretraining-steps", 1, "--samples", 1)
    page = Path(run(*command).stdout.strip())
    assert page == out / "report.html" and page.is_file()
    before, after = (json.loads((out / f"{name}.json").read_text()) for name in ("before", "after"))
    assert (before["role"], after["role"]) == ("reference", "policy")
    assert before["metrics"].keys() == after["metrics"].keys() >= {"picture", "sound", "sync", "speed"}
    trained = out / "run"
    log = (trained / "metrics.jsonl").read_text()
    run("train", "--recipe", small, "--out", trained, "--set", f"backbone.path={next((out / 'pretraining').iterdir())}")
    assert (trained / "metrics.jsonl").read_text() == log  # nothing was left to do
    assert "2 clips" in run("sample", trained, "--out", tmp_path / "clips", "--limit", 2, "--steps", 2).stdout
    assert "sync" in run("score", tmp_path / "clips", "--recipe", "gdpo", "--backbone", "miniature").stdout
    assert "whose rewards (--backbone)?" in told(("score", tmp_path / "clips", "--recipe", "gdpo"), 2)
    other = run(*command, "--set", "loss.beta=0.7", "--set", "run.seed=3", code=2).stderr
    assert f"{trained} was trained with other values of loss.beta, run.seed. Name another folder (--out)" in other
    run("evaluate", trained, "--out", tmp_path / "e.json", "--samples", 1, "--steps", 2, "--role", "old")
    assert json.loads((tmp_path / "e.json").read_text())["role"] == "old"
    written = Path(run("report", trained).stdout.strip())
    assert written == trained / "report.html" and "Step 2 against step 0" in written.read_text(encoding="utf-8")
    assert "Step 2 against step 0" in page.read_text(encoding="utf-8")
    run("export", trained, "--out", tmp_path / "weights")
    assert list((tmp_path / "weights").rglob("*.safetensors"))
