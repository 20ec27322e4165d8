"""One of several processes fails: its message is the first, and the others end instead of waiting (gloo)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from joined_worker import TESTS, environment
from tiny_training import SMALL, tiny_weights

MESSAGE = "the list of prompts is upside down."


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("weights"))


def failing(weights: Path, folder: Path, *, fails: int, how: str = "raises") -> tuple[dict[str, Any], list[str]]:
    """Exit codes and seconds, and the lines that all processes wrote to stderr."""
    settings = [f'backbone.path="{weights}"', *SMALL]
    arguments = ["train", "--out", str(folder / "run"), "--backbone", "miniature"]
    plan = {
        "arguments": [*arguments, *(part for text in settings for part in ("--set", text))],
        "fails": fails,
        "how": how,
        "began": str(folder / "began"),
        "result": str(folder / "result.json"),
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, str(TESTS / "failing_worker.py"), str(folder / "plan.json")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((folder / "result.json").read_text()), done.stderr.splitlines()


def check(result: dict[str, Any], lines: list[str], fails: int) -> None:
    assert result["codes"] == [2, 2, 2]
    assert result["seconds"] < 20
    about = [line for line in lines if MESSAGE in line]
    others = [rank for rank in range(3) if rank != fails]
    assert about[0] == f"omninft-train: {MESSAGE}"
    assert sorted(about[1:]) == [f"process {rank} ends, because process {fails} failed: {MESSAGE}" for rank in others]
    assert not any(word in line for line in lines for word in ("Traceback", "internal error", "onnection"))


@pytest.mark.slow
def test_the_message_of_the_first_to_fail_comes_first_and_all_end(weights: Path, tmp_path: Path) -> None:
    """One of the others waits in a collective operation, one is far from any."""
    check(*failing(weights, tmp_path, fails=1), fails=1)


@pytest.mark.slow
def test_so_it_does_where_the_process_fails_that_all_meet_at(weights: Path, tmp_path: Path) -> None:
    check(*failing(weights, tmp_path, fails=0), fails=0)


@pytest.mark.slow
def test_a_killed_process_ends_all(weights: Path, tmp_path: Path) -> None:
    result, lines = failing(weights, tmp_path, fails=1, how="killed")
    assert result["codes"][1] == -9 and 0 not in result["codes"]
    assert result["seconds"] < 60
    assert any("process 2 ends, because process 0 failed" in line for line in lines)
