"""One of several processes fails: its message is the first, and the others end instead of waiting (gloo)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from joined_worker import TESTS, environment, free_port
from tiny_training import SMALL, tiny_weights

MESSAGE = "the list of prompts is upside down."


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("weights"))


def plan_file(weights: Path, folder: Path, *, fails: int, **more: Any) -> Path:
    """What `failing_worker` is to do."""
    settings = [f'backbone.path="{weights}"', *SMALL]
    arguments = ["train", "--out", str(folder / "run"), "--backbone", "miniature"]
    plan = {
        "arguments": [*arguments, *(part for text in settings for part in ("--set", text))],
        "fails": fails,
        **more,
        "began": str(folder / "began"),
        "result": str(folder / "result.json"),
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder / "plan.json"


def failing(
    weights: Path, folder: Path, *, fails: int, how: str = "raises", size: int = 3, agent: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Exit codes and seconds, and the lines that all processes wrote to stderr."""
    plan = plan_file(weights, folder, fails=fails, how=how, size=size, agent=agent)
    command = [sys.executable, str(TESTS / "failing_worker.py"), str(plan)]
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
@pytest.mark.parametrize("how", ["killed", "killed far"])
def test_it_is_named_where_torchrun_ends_the_others(weights: Path, tmp_path: Path, how: str) -> None:
    """By a signal, a moment later; theirs is not taken for the first failure, and does not silence them."""
    result, lines = failing(weights, tmp_path, fails=1, how=how, agent="terminates")
    assert result["codes"] == [70, -9, 70] and result["seconds"] < 20
    for rank in (0, 2):
        assert f"process {rank} ends, because process 1 failed: it ended without a word" in "\n".join(lines)


@pytest.mark.slow
def test_the_first_message_stays_the_first_where_torchrun_ends_the_others(weights: Path, tmp_path: Path) -> None:
    check(*failing(weights, tmp_path, fails=1, agent="terminates"), fails=1)


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "within"), [("keeps the store", 20), ("is lost", 25), ("", 20)])
def test_so_it_is_where_the_first_process_is_killed(weights: Path, tmp_path: Path, agent: str, within: float) -> None:
    """The store that tells of failures stays, where torchrun keeps it, or says nothing any more, or goes."""
    result, lines = failing(weights, tmp_path, fails=0, how="killed far", size=2, agent=agent)
    assert result["codes"] == [-9, 70] and result["seconds"] < within
    (line,) = (line for line in lines if "ends, because" in line)
    assert line.startswith("process 1 ends, because process 0 failed: it ended without a word") or not agent


@pytest.mark.slow
def test_torchrun_on_two_nodes_ends_where_a_process_of_one_is_killed(weights: Path, tmp_path: Path) -> None:
    """Two agents of torchrun, here on one machine, of which the other one does not hear."""
    plan = plan_file(weights, tmp_path, fails=1, how="killed far", size=2)
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    command += ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    script = [str(TESTS / "failing_worker.py"), str(plan)]
    with ExitStack() as stack:
        agents = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, f"--node-rank={node}", *script], env=environment(), stderr=subprocess.PIPE, text=True
                )
            )
            for node in range(2)
        ]
        errors = [agent.communicate(timeout=300)[1] for agent in agents]
        seconds = time.time() - (tmp_path / "began").stat().st_mtime
    assert [agent.returncode for agent in agents] == [1, 1] and seconds < 30
    assert "process 0 ends, because process 1 failed: it ended without a word" in errors[0]
    assert "exitcode  : 70" in errors[0] and "Signal 9" in errors[1]


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
