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


def failing(
    weights: Path, folder: Path, *, fails: int, how: str = "raises", size: int = 3, agent: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Exit codes and seconds, and the lines that all processes wrote to stderr."""
    settings = [f'backbone.path="{weights}"', *SMALL]
    arguments = ["train", "--out", str(folder / "run"), "--backbone", "miniature"]
    plan = {
        "arguments": [*arguments, *(part for text in settings for part in ("--set", text))],
        "size": size,
        "fails": fails,
        "how": how,
        "agent": agent,
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
@pytest.mark.parametrize("how", ["killed", "killed far"])
def test_a_killed_process_ends_all_and_is_named(weights: Path, tmp_path: Path, how: str) -> None:
    """Also where others notice a closed connection first, or nothing, as with NCCL."""
    result, lines = failing(weights, tmp_path, fails=1, how=how)
    assert result["codes"] == [70, -9, 70] and result["seconds"] < 20
    for rank in (0, 2):
        assert f"process {rank} ends, because process 1 failed: it ended without a word" in "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "message"), [(True, "it ended without a word"), (False, "it can no longer be rea")])
def test_so_it_does_where_the_first_process_is_killed(weights: Path, tmp_path: Path, agent: bool, message: str) -> None:
    """The store that tells of failures stays, where torchrun keeps it, or goes with that process."""
    result, lines = failing(weights, tmp_path, fails=0, how="killed far", size=2, agent=agent)
    assert result["codes"] == [-9, 70] and result["seconds"] < 20
    (line,) = (line for line in lines if "ends, because" in line)
    assert line.startswith(f"process 1 ends, because process 0 failed: {message}")


@pytest.mark.long
def test_a_recipe_that_one_process_lacks_ends_all(weights: Path, tmp_path: Path) -> None:
    result, lines = failing(weights, tmp_path, fails=1, how="recipe", size=2)
    assert result["codes"] == [2, 2] and result["seconds"] < 20
    first, second = (line for line in lines if "not-on-this-node.toml" in line)
    assert first.startswith("omninft-train: ")
    assert second.startswith("process 0 ends, because process 1 failed: ")


@pytest.mark.long
@pytest.mark.parametrize(("fails", "named"), [(1, "process 1"), (0, "process 0")])
def test_a_process_that_never_starts_is_not_waited_for(weights: Path, tmp_path: Path, fails: int, named: str) -> None:
    """Its environment is broken, for example; the first one keeps the store that all meet at."""
    result, lines = failing(weights, tmp_path, fails=fails, how="absent", size=2)
    assert result["codes"][fails] == 1 and result["codes"][1 - fails] == 4
    assert result["seconds"] < 20
    (line,) = (line for line in lines if "did not start within 0.05 minutes" in line)
    assert line.startswith(f"omninft-train: {named} did")


@pytest.mark.long
def test_a_node_without_gpus_beside_one_with_is_named(weights: Path, tmp_path: Path) -> None:
    result, lines = failing(weights, tmp_path, fails=1, how="gpu", size=2)
    assert result["codes"] == [4, 4] and result["seconds"] < 20
    about = [line for line in lines if "process 1 would compute on cuda and process 0 on cpu" in line]
    assert about[0].startswith("omninft-train: ") and len(about) == 2
