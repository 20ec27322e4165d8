"""The workflows of examples/ci run as they stand: their commands, in order, in one folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
EXAMPLE = REPOSITORY / "examples" / "ci"
PAGE = REPOSITORY / "docs" / "ci.md"
# A store of one file in the place of GitLab's package registry.
CURL = """#!/bin/sh
for word in "$@"; do
  case "$before" in --upload-file) cp "$word" "$STORE_FILE";; --output) cp "$STORE_FILE" "$word";; esac
  before="$word"
done
"""


def github(job: str) -> list[str]:
    """The commands of a job of the GitHub workflow."""
    steps = yaml.safe_load((EXAMPLE / "github.yml").read_text(encoding="utf-8"))["jobs"][job]["steps"]
    return [step["run"] for step in steps if "run" in step]


def gitlab(job: str) -> list[str]:
    """The commands of a job of the GitLab workflow."""
    return list(yaml.safe_load((EXAMPLE / "gitlab.yml").read_text(encoding="utf-8"))[job]["script"])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A checkout with fewer prompts; all the rest only takes time."""
    shutil.copytree(EXAMPLE, tmp_path / "work" / "examples" / "ci")
    prompts = tmp_path / "work" / "examples" / "ci" / "prompts.csv"
    prompts.write_text("".join(prompts.read_text(encoding="utf-8").splitlines(keepends=True)[:7]), encoding="utf-8")
    return tmp_path / "work"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """`avbench`, `python` and `curl` on the path; installing does nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    python = shlex.quote(sys.executable)
    scripts = {
        "python": f'#!/bin/sh\nexec {python} "$@"\n',
        "avbench": f'#!/bin/sh\nexec {python} -m avbench "$@"\n',
        "pip": "#!/bin/sh\n[ \"$1\" = install ]\n",
        "curl": CURL,
    }  # fmt: skip
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "METRICS": "av_align,sharpness,loudness",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "STORE": "https://registry.example/baseline.tar.gz",
        "STORE_FILE": str(tmp_path / "stored"),
        "CI_JOB_TOKEN": "token",
    }


def run(commands: Sequence[str], place: Path, environment: dict[str, str]) -> None:
    """Run commands as a CI system does; the first that fails ends the job."""
    for command in commands:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command], cwd=place, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.long
def test_the_gate_of_the_workflows_runs_on_drawn_runs(place, environment, make_run):
    """The lines that calibrate and check, without generating and scoring."""
    facts = {
        name: {"unit": "1", "higher_is_better": higher, "params": {}, "checkpoint": ""}
        for name, higher in (("av_align", True), ("sharpness", True), ("loudness", None))
    }
    rng = np.random.default_rng(0)
    for name in ("baseline", "repeat-1", "repeat-2", "repeat-3", "candidate"):
        scores = {metric: rng.normal(0.5, 0.1, 24) for metric in facts}
        make_run(place / "runs" / name, scores, info={"metrics": facts})
    lines = [line for job in ("baseline", "check") for text in github(job) for line in text.splitlines()]
    run([line for line in lines if line.startswith("avbench check")], place, environment)
    assert json.loads((place / "check.json").read_text())["clips"] == 24


@pytest.mark.slow
def test_the_github_workflow_runs(place, environment, tmp_path):
    run(github("baseline"), place, environment)
    shutil.rmtree(place / "clips")
    run(github("check"), place, environment)
    assert "av\\_align" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert json.loads((place / "check.json").read_text())["clips"] == 6


@pytest.mark.slow
def test_the_gitlab_workflow_runs(place, environment):
    run(gitlab("baseline"), place, environment)
    for name in ("clips", "runs"):  # another job starts from a clean checkout
        shutil.rmtree(place / name)
    run(gitlab("check"), place, environment)
    cases = ElementTree.parse(place / "check.xml").findall("testsuite/testcase")
    assert {case.get("name") for case in cases} == {"av_align", "sharpness", "loudness"}


def test_the_workflows_agree_and_are_shown_in_the_docs():
    def avbench_lines(commands: Sequence[str]) -> list[str]:
        return [" ".join(line.split()) for text in commands for line in text.splitlines() if "avbench " in line]

    for job in ("baseline", "check"):
        assert avbench_lines(github(job)) == avbench_lines(gitlab(job))
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"examples/ci/{path.name}" in text for path in EXAMPLE.iterdir() if path.is_file())


@pytest.mark.slow
def test_with_all_prompts_a_late_sound_is_found_and_a_new_seed_is_not(place, environment):
    shutil.copy(EXAMPLE / "prompts.csv", place / "examples" / "ci")
    run(github("baseline"), place, environment)
    check = github("check")
    gate = check.index(next(command for command in check if command.startswith("avbench check")))
    run([*check[:gate], f"{check[gate]} --strict"], place, environment)
    late = [text.replace("--seed 4", "--seed 4 --late 0.2").replace("candidate", "late") for text in check[1:gate]]
    run(late, place, environment)
    with pytest.raises(AssertionError, match="regression in av_align"):
        run([check[gate].replace("runs/candidate", "runs/late")], place, environment)
