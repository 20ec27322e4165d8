"""The whole command with a trainer that takes no time: plan, run, resume, share, fail, and what is written."""

from __future__ import annotations

import csv
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from omninft_train.miniature.worlds import WORLDS

REPOSITORY = Path(__file__).parents[3]


def work(path: Path) -> list[list[str]]:
    """Calls of the trainer."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def records(out: Path) -> dict[str, str]:
    """Digest of each record by file, times and places left out."""
    return {str(p.relative_to(out)): json.loads(p.read_text())["digest"] for p in sorted(out.glob("*/**/*.json"))
            if "digest" in (content := json.loads(p.read_text())) and content["state"] == "complete"}  # fmt: skip


def test_it_runs_everything_and_writes_every_table(avbench, grid_file, tmp_path):
    log = tmp_path / "calls"
    done = avbench("ablate", "--grid", grid_file, "--out", "out", fake={"FAKE_CALLS": str(log)})
    assert (done.returncode, done.stderr) == (0, "")
    assert len(work(log)) == 1 + 6 + 9
    out = tmp_path / "out"
    for name in ("table3.md", "table3.tex", "table2.md", "table2.tex"):
        assert (out / "tables" / name).stat().st_size > 500
    text = (out / "tables" / "table3.md").read_text()
    assert "## Rewards, which training saw" in text
    assert "## Held out: no reward of the training" in text
    assert text.index("picture ↑") < text.index("Held out") < text.index("av\\_align ↑")
    assert "No published figures: nothing that was published is the same quantity." in text
    assert re.search(r"\| \\?\+ routing &amp; more \| \*\*-?0\.\d+ ± 0\.\d+\*\*", text)
    assert "(33 of 36)" in text, "clips whose metric failed are counted"
    assert "\\toprule" in (out / "tables" / "table3.tex").read_text()
    assert "routing \\& more" in (out / "tables" / "table3.tex").read_text()
    rows = list(csv.DictReader((out / "results.csv").open()))
    assert {row["provenance"] for row in rows} == {"measured"}
    assert {row["rewarded"] for row in rows if row["metric"] in ("picture", "sound")} == {"yes"}
    found = list(csv.DictReader((out / "differences.csv").open()))
    assert {row["verdict"] for row in found if row["metric"] == "distance"} == {"supported"}
    for svg in out.glob("curves/*.svg"):
        ElementTree.parse(svg)
    assert {p.stem for p in out.glob("curves/*.svg")} >= {"reward_picture_mean", "reward_sound_mean", "conflict_share"}


@pytest.mark.long
def test_the_page_is_whole_safe_and_repeats(avbench, grid_file, tmp_path):
    assert avbench("ablate", "--grid", grid_file, "--out", "out", "-q").stdout == ""
    page = tmp_path / "out" / "report.html"
    first = page.read_bytes()
    text = first.decode()
    assert "Tiny &lt;b&gt;ablation&lt;/b&gt;" in text
    assert "<b>ablation" not in text
    assert text.count("<script") == 1, "that of all pages"
    assert "default-src 'none'; script-src 'sha256-" in html.unescape(text)
    assert text.count("<svg") >= 4
    assert avbench("ablate", "--grid", grid_file, "--out", "out", "-q").returncode == 0
    assert page.read_bytes() == first


@pytest.mark.long
def test_what_is_done_is_not_done_again(avbench, grid_file, tmp_path):
    log = tmp_path / "calls"
    fake = {"FAKE_CALLS": str(log)}
    assert avbench("ablate", "--grid", grid_file, "--out", "out", "-q", fake=fake).returncode == 0
    log.unlink()
    done = avbench("ablate", "--grid", grid_file, "--out", "out", fake=fake)
    assert "16 steps, all done" in done.stdout
    assert work(log) == []
    (tmp_path / "out" / "runs" / "routing" / "seed-1" / "evaluation.json").unlink()
    assert avbench("ablate", "--grid", grid_file, "--out", "out", "-q", fake=fake).returncode == 0
    assert [call[0] for call in work(log)] == ["evaluate"]


def test_a_dry_run_and_a_list_of_commands_write_nothing(avbench, grid_file, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = avbench("ablate", "--grid", grid_file, "--out", "out", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "16 steps, 16 to do: about" in done.stdout
    done = avbench(
        "ablate", "--grid", grid_file, "--out", "out", "--commands", "--only", "train", "--variant", "routing"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"avbench ablate --grid {grid_file} --out out --only train --variant routing --seed 0"
    assert lines[1].startswith("#   ")
    assert " train --out " in lines[1]
    assert "--recipe omninft-routing" in lines[1]
    assert len(lines) == 6
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.long
def test_steps_can_be_run_alone_and_in_any_place(avbench, grid_file, tmp_path):
    out, one = ("--grid", grid_file, "--out", "out"), ("--variant", "routing", "--seed", "2")
    done = avbench("ablate", *out, "--only", "train", *one)
    assert done.returncode == 2
    assert done.stderr.endswith("--only pretrain\n"), "the command that is missing is named"
    assert "'train routing seed 2' needs it" in done.stderr
    assert not (tmp_path / "out" / "runs").exists()
    assert avbench("ablate", *out, "--only", "pretrain").returncode == 0
    assert avbench("ablate", *out, "--only", "train", *one).returncode == 0
    assert [p.name for p in (tmp_path / "out" / "runs").glob("*/*")] == ["seed-2"]
    done = avbench("ablate", *out, "--only", "tables")
    assert done.returncode == 2
    assert "is not made, and tables need all steps. Go on with: avbench ablate" in done.stderr
    assert avbench("ablate", *out, *one).returncode == 0, "without --only, what is needed comes with it"
    assert (tmp_path / "out" / "runs" / "routing" / "seed-2" / "evaluation.json").exists()
    whole = avbench("ablate", "--grid", grid_file, "--out", "whole", "-q")
    rest = avbench("ablate", *out, "-q")
    assert (whole.returncode, rest.returncode) == (0, 0)
    assert records(tmp_path / "out") == records(tmp_path / "whole")
    for name in ("results.csv", "differences.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "trian"), "unknown step trian (--only). Did you mean train, pretrain?"),
        (("--variant", "routin"), "the chosen tables have no variant routin (--variant). Did you mean routing?"),
        (("--seed", "7"), "no seed 7 (--seed): the grid has seeds 0, 1, 2."),
        (("--table", "table4"), "no table table4 (--table): "),
        (("--budget", "smoke", "--record", "boards", "--seed", "0"), "--record needs all variants and seeds"),
    ],
    ids=["only", "variant", "seed", "table", "record"],
)
def test_wrong_choices_are_one_line(avbench, small_grid, grid_file, tmp_path, arguments, message):
    done = avbench("ablate", "--grid", grid_file, "--out", "out", *arguments)
    assert done.returncode in (2, 4)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_trainers_own_complaints_come_before_anything_is_made(avbench, grid_file, grid_text, tmp_path):
    for old, new, message in (
        ("run.steps = 4", "run.stepz = 4", "[variant.vanilla]: unknown key 'run.stepz'. Did you mean steps?"),
        (
            'recipe = "omninft-routing"',
            'recipe = "rooting"',
            "[variant.routing]: unknown recipe or backbone 'rooting'.",
        ),
        (
            'version = "1"',
            "processes = 3",
            "prompts.group_size 8 = 64 rollouts is not divisible by 3 processes",
        ),
        ('command = ["{python}", ', 'command = ["/no/such/trainer", ', "cannot start /no/such/trainer"),
        (
            'command = ["{python}", ',
            'command = ["$NO_SUCH_VARIABLE", ',
            "names an environment variable that is not set",
        ),
    ):
        grid_file.write_text(grid_text.replace(old, new, 1))
        done = avbench("ablate", "--grid", grid_file, "--out", "out")
        assert done.returncode in (2, 4), done.stdout
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_other_settings_are_refused_and_told_until_redo(avbench, small_grid, tmp_path):
    assert avbench("ablate", "--grid", small_grid, "--out", "out", "-q").returncode == 0
    before = records(tmp_path / "out")
    small_grid.write_text(small_grid.read_text().replace("run.steps = 4", "run.steps = 5"))
    done = avbench("ablate", "--grid", small_grid, "--out", "out", "-q")
    assert done.returncode == 2
    assert "'train vanilla seed 0' was made with other settings: run.steps 4, now 5 (4 steps in all)" in done.stderr
    assert "--redo" in done.stderr
    assert records(tmp_path / "out") == before
    assert "other settings" in avbench("ablate", "--grid", small_grid, "--out", "out", "--dry-run").stdout
    assert avbench("ablate", "--grid", small_grid, "--out", "out", "-q", "--redo").returncode == 0
    log = tmp_path / "out" / "runs" / "vanilla" / "seed-0" / "run" / "metrics.jsonl"
    assert len(log.read_text().splitlines()) == 5
    after = records(tmp_path / "out")
    assert {name for name in after if after[name] != before[name]} == {
        f"runs/vanilla/seed-{seed}/{kind}.json" for seed in (0, 1) for kind in ("train", "evaluate")
    }, "the base policy does not depend on the variant whose run it is taken from"


def test_another_pretraining_of_the_trainer_is_other_settings(avbench, small_grid, monkeypatch):
    assert avbench("ablate", "--grid", small_grid, "--out", "out", "-q").returncode == 0
    worlds = {**WORLDS, "miniature": replace(WORLDS["miniature"], identity=2)}
    monkeypatch.setattr("omninft_train.miniature.backbone.WORLDS", worlds)
    done = avbench("ablate", "--grid", small_grid, "--out", "out", "-q")
    assert done.returncode == 2
    assert "out/base: 'pretrain' was made with other settings: name " in done.stderr
    assert "(7 steps in all)" in done.stderr


def test_a_seed_folder_of_unknown_origin_is_refused(avbench, small_grid, tmp_path):
    folder = tmp_path / "out" / "runs" / "vanilla" / "seed-1" / "run"
    folder.mkdir(parents=True)
    (folder / "checkpoint").write_text("someone's")
    done = avbench("ablate", "--grid", small_grid, "--out", "out", "-q", "--redo")
    assert done.returncode == 2
    assert "seed-1/run is there without a record of how it was made: half written, or not by" in done.stderr
    assert (folder / "checkpoint").read_text() == "someone's"
    assert not (tmp_path / "out" / "base").exists()


def test_a_failing_step_is_told_with_its_log_and_others_go_on(avbench, small_grid, tmp_path):
    fake = {"FAKE_FAIL": "vanilla/seed-0/run --recipe"}
    done = avbench("ablate", "--grid", small_grid, "--out", "out", fake=fake)
    assert done.returncode == 4
    assert "train vanilla seed 0 failed, exit code 3: the loss is not finite. (log: " in done.stderr
    assert "2 more steps failed or could not start. The same command goes on from here." in done.stderr
    assert done.stderr.count("\n") == 1
    assert "evaluate vanilla seed 1: done" in done.stdout
    assert not (tmp_path / "out" / "report.html").exists()
    usage = avbench("ablate", "--grid", small_grid, "--out", "out", fake={**fake, "FAKE_CODE": "2"})
    assert usage.returncode == 2
    done = avbench("ablate", "--grid", small_grid, "--out", "out", "--only", "tables")
    assert "seed-0: 'train vanilla seed 0' is half written, and tables need all steps. Go on with: " in done.stderr
    assert done.stderr.endswith("--only train --variant vanilla --seed 0\n")
    assert avbench("ablate", "--grid", small_grid, "--out", "out", "-q").returncode == 0


LAUNCHER = """
import os, signal, subprocess, sys
done = subprocess.run([sys.executable, *sys.argv[1:]])
if os.environ.get("LAUNCHER") == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(min(done.returncode, 1))
"""


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        ({"FAKE_FAIL": "seed-0/run --recipe"}, "exit code 3: the loss is not finite. (log: "),
        ({"LAUNCHER": "dies"}, "killed by signal 9 (log: "),
    ],
)
def test_a_launcher_ends_otherwise_than_what_it_launched(avbench, small_grid, tmp_path, fake, message):
    (tmp_path / "launcher.py").write_text(LAUNCHER)
    text = small_grid.read_text()
    (command,) = re.findall(r"^command = .*", text, re.MULTILINE)
    launch = command.replace("command", "launch").replace('"{python}"', f'"{{python}}", "{tmp_path}/launcher.py"')
    small_grid.write_text(text.replace(command, f"{command}\n{launch}"))
    steps = ("--only", "pretrain", "--only", "train")
    done = avbench("ablate", "--grid", small_grid, "--out", "out", "--jobs", "1", *steps, fake=fake)
    assert done.returncode == 4
    assert f"train vanilla seed 0 failed, {message}" in done.stderr


def test_damaged_results_are_named(avbench, small_grid, tmp_path):
    assert avbench("ablate", "--grid", small_grid, "--out", "out", "-q").returncode == 0
    path = tmp_path / "out" / "runs" / "vanilla" / "seed-0" / "evaluation.json"
    path.write_text(path.read_text()[:-40])
    done = avbench("ablate", "--grid", small_grid, "--out", "out", "--only", "tables", "-q")
    assert done.returncode == 2
    assert "'evaluate vanilla seed 0' is damaged" in done.stderr
    path.write_text(" " * path.stat().st_size)  # of the right size and no sense
    whole = json.loads((path.parent / "evaluate.json").read_text())["outputs"]["runs/vanilla/seed-0/evaluation.json"]
    path.write_text(" " * whole)
    done = avbench("ablate", "--grid", small_grid, "--out", "out", "--only", "tables", "-q")
    assert done.returncode == 2
    assert f"{path}".removeprefix(f"{tmp_path}/") in done.stderr
    assert "not an evaluation of the trainer" in done.stderr


def start(tmp_path: Path, grid: Path, sleep: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "avbench", "ablate", "--grid", str(grid), "--out", "out"]
    environment = {**os.environ, "FAKE_SLEEP": str(sleep)}
    return subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(path: Path, lines: int) -> None:
    deadline = time.monotonic() + 60
    while not (path.exists() and len(path.read_text().splitlines()) >= lines):
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.02)


def alive(out: Path) -> bool:
    """Whether a trainer still works on this folder."""
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True)
    return any("fake_trainer" in line and str(out) in line for line in done.stdout.splitlines())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "terminate"])
@pytest.mark.long
def test_an_interruption_ends_the_steps(avbench, small_grid, tmp_path, number):
    child = start(tmp_path, small_grid, 0.4)
    log = tmp_path / "out" / "runs" / "vanilla" / "seed-0" / "run" / "metrics.jsonl"
    wait_for(log, 1)
    child.send_signal(number)
    _, stderr = child.communicate(timeout=30)
    assert child.returncode == 128 + number, stderr
    assert stderr.startswith("avbench: interrupted.")
    assert "Traceback" not in stderr
    assert not alive(tmp_path / "out")
    assert avbench("ablate", "--grid", small_grid, "--out", "out", "-q").returncode == 0
    whole = avbench("ablate", "--grid", small_grid, "--out", "whole", "-q")
    assert whole.returncode == 0
    assert (tmp_path / "out" / "results.csv").read_bytes() == (tmp_path / "whole" / "results.csv").read_bytes()


@pytest.mark.long
def test_after_a_kill_others_wait_for_the_trainer_that_is_left(avbench, small_grid, tmp_path):
    child = start(tmp_path, small_grid, 0.5)
    folder = tmp_path / "out" / "runs" / "vanilla" / "seed-0"
    wait_for(folder / "run" / "metrics.jsonl", 1)
    child.kill()
    child.communicate()
    assert json.loads((folder / "train.json").read_text())["state"] == "started"
    log = tmp_path / "calls"
    done = avbench("ablate", "--grid", small_grid, "--out", "out", fake={"FAKE_CALLS": str(log)})
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line)["step"] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2, 3], "no two trainers wrote into one run"
    assert json.loads((folder / "train.json").read_text())["attempts"] == 2


@pytest.mark.long
def test_two_commands_share_a_folder_and_do_each_step_once(avbench, small_grid, tmp_path):
    log = tmp_path / "calls"
    command = [sys.executable, "-m", "avbench", "ablate", "--grid", str(small_grid), "--out", "out", "-q"]
    environment = {**os.environ, "FAKE_SLEEP": "0.2", "FAKE_CALLS": str(log)}
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for child in both:
        _, stderr = child.communicate(timeout=120)
        assert child.returncode == 0, stderr
    done = [" ".join(call) for call in work(log)]
    assert len(done) == len(set(done)) == 1 + 2 + 4


def test_steps_use_the_threads_of_the_grid(avbench, small_grid, tmp_path):
    log = tmp_path / "threads"
    small_grid.write_text("threads = 3\n" + small_grid.read_text())
    assert avbench("ablate", "--grid", small_grid, "--out", "out", fake={"FAKE_THREADS": str(log)}).returncode == 0
    assert {line.split()[1] for line in log.read_text().splitlines()} == {"3"}


def test_what_is_recorded_names_no_folder_of_this_machine(avbench, small_grid, tmp_path):
    leaderboards = shutil.copytree(REPOSITORY / "leaderboards", tmp_path / "boards")
    shutil.rmtree(leaderboards / "measured")
    (leaderboards / "measured").mkdir()
    options = ("--leaderboards", "boards", "--record", "boards", "--machine", "a test")
    done = avbench("ablate", "--grid", small_grid.name, "--out", tmp_path / "out", *options)
    assert (done.returncode, done.stderr) == (0, "")
    text = (leaderboards / "measured" / "ablate-tiny.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["command"] for row in rows} == {f"avbench ablate --grid {small_grid.name}"}
    assert {row["machine"] for row in rows} == {"a test"}
    assert str(tmp_path) not in text
