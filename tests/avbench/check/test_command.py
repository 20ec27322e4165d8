"""`avbench check` as a subprocess: both forms, files, exit codes, one-line errors, no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest


@pytest.mark.long
def test_help_shows_the_comparison_and_names_the_other_form(avbench):
    done = avbench("check", "--help")
    assert done.returncode == 0
    words = ("check [OPTIONS]", "--baseline", "--policy", "--strict", "--junit", "check calibrate", "5 undecided")
    assert all(word in " ".join(done.stdout.split()) for word in words)
    assert "compare" not in done.stdout.split("Options:")[0].replace("Compare", "")
    other = avbench("check", "calibrate", "--help")
    assert (other.returncode, "--out" in other.stdout) == (0, True)


@pytest.mark.long
def test_it_needs_the_light_core_only(pair, tmp_path):
    candidate, baseline = pair()
    code = (
        "import sys; from typer.testing import CliRunner; from avbench.cli import app; "
        f"run = lambda *a: CliRunner().invoke(app, ['check', *a]).exit_code; "
        f"assert run({str(candidate)!r}, '--baseline', {str(baseline)!r}, '--json', {str(tmp_path / 'a.json')!r}, "
        f"'--junit', {str(tmp_path / 'a.xml')!r}, '--markdown', {str(tmp_path / 'a.md')!r}) == 0; "
        f"assert run('calibrate', {str(candidate)!r}, {str(baseline)!r}, '-o', {str(tmp_path / 'n.toml')!r}) == 0; "
        "print([m for m in ('torch', 'transformers', 'cv2', 'av', 'soundfile') if m in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout.strip() == "[]", child.stderr


def test_a_regression_is_exit_code_1_with_all_files(avbench, pair, tmp_path):
    candidate, baseline = pair(-0.5)
    files = {name: tmp_path / f"check.{name}" for name in ("json", "junit", "markdown")}
    options = [text for name, path in files.items() for text in (f"--{name}", path)]
    done = avbench("check", candidate, "--baseline", baseline, *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "regression in av_align" in done.stdout
    assert json.loads(files["json"].read_text())["exit_code"] == 1
    assert ElementTree.parse(files["junit"]).find("testsuite").get("failures") == "1"
    assert "**worse**" in files["markdown"].read_text()


@pytest.mark.long
def test_a_verdict_does_not_depend_on_where_it_is_printed(avbench, pair):
    candidate, baseline = pair(-0.5)
    latin = avbench("check", candidate, "-b", baseline, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert (latin.returncode, latin.stderr) == (1, "")
    command = [sys.executable, "-m", "avbench", "check", str(candidate), "-b", str(baseline)]
    for redirected in (">&-", ">/dev/full", ">&- 2>&-"):
        done = subprocess.run(["bash", "-c", f'"$@" {redirected}', "bash", *command], capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr


def test_options_may_stand_in_front(avbench, pair):
    candidate, baseline = pair()
    done = avbench("check", "--baseline", baseline, "--quiet", candidate)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_undecided_is_exit_code_5_under_strict_alone(avbench, pair):
    candidate, baseline = pair(n=10)
    assert avbench("check", candidate, "-b", baseline).returncode == 0
    done = avbench("check", candidate, "-b", baseline, "--strict", env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 5
    assert "clips would decide" in done.stdout


def test_calibrate_writes_the_floors_that_check_reads(avbench, make_run, tmp_path):
    rng = np.random.default_rng(0)
    runs = [make_run(tmp_path / f"r{n}", {"av_align": np.arange(9) + rng.normal(0, 0.1, 9)}) for n in range(4)]
    done = avbench("check", "calibrate", *runs, "--out", tmp_path / "noise.toml")
    assert done.returncode == 0, done.stderr
    assert "av_align" in done.stdout
    policy = tmp_path / "check.toml"
    policy.write_text('noise = "noise.toml"\n')
    content = tmp_path / "check.json"
    for options in (("--policy", policy), ("--noise", tmp_path / "noise.toml")):
        assert avbench("check", runs[0], "-b", runs[1], *options, "--json", content, cwd="/").returncode == 0
        assert json.loads(content.read_text())["findings"][0]["floor"] > 0


def test_the_policy_is_used(avbench, pair, tmp_path):
    candidate, baseline = pair(-0.5)
    policy = tmp_path / "check.toml"
    policy.write_text("[metric.av_align]\nmin_difference = 2\n")
    assert avbench("check", candidate, "-b", baseline, "-p", policy).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "CANDIDATE", "-b", "nowhere"], ["nowhere is not a run folder"]),
        (["check", "OTHER", "-b", "BASELINE"], ["different prompts or samples"]),
        (["check", "CANDIDATE", "-b", "BASELINE", "-p", "bad.toml"], ["bad.toml", "unknown key 'alpa'", "alpha"]),
        (["check", "CANDIDATE", "-b", "BASELINE", "--noise", "bad.toml"], ["bad.toml", "unknown key"]),
        (["check", "CANDIDATE", "-b", "BASELINE", "--json", "a", "--junit", "./a"], ["the same file"]),
        (["check", "calibrate", "CANDIDATE", "OTHER", "-o", "new.toml"], ["different prompts or samples"]),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(avbench, pair, make_run, tmp_path, arguments, words):
    candidate, baseline = pair()
    other = make_run(tmp_path / "other", {"av_align": np.zeros(41), "loudness": np.zeros(41)})
    (tmp_path / "bad.toml").write_text("alpa = 0.1\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    places = {"CANDIDATE": candidate, "BASELINE": baseline, "OTHER": other}
    done = avbench(*[places.get(argument, argument) for argument in arguments], cwd=tmp_path)
    assert done.returncode == 2
    assert all(word in done.stderr for word in words), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_missing_baseline_or_candidate_says_so(avbench, pair):
    candidate, baseline = pair()
    for arguments, word in ((["check", candidate], "--baseline"), (["check", "-b", baseline], "candidate")):
        done = avbench(*arguments)
        assert done.returncode == 2
        assert word in done.stderr.lower()


def test_a_folder_that_cannot_be_written_is_exit_code_4(avbench, pair, tmp_path):
    candidate, baseline = pair()
    done = avbench("check", candidate, "-b", baseline, "--json", tmp_path / "no" / "check.json")
    assert done.returncode == 4
    assert "cannot write" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
