"""Two processes (gloo), each with a folder of its own as two nodes without a common disk have them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from omninft_train.errors import UsageError
from omninft_train.training import checkpoint
from omninft_train.training.agreement import check_same_start, find_checkpoint
from omninft_train.training.distributed import World

TESTS = Path(__file__).parents[2]
NODES = (0, 1)


def save(folder: Path, step: int, value: float = 1.0) -> None:
    meta = {"backbone": "miniature", "backbone_digest": "0"}
    checkpoint.save(folder, step, {"policy": {"w": torch.full((2,), value)}}, meta)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What each process came to, by case."""
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "file").touch()
    for node in NODES:
        own = folder / f"node-{node}"
        save(own / "same", 2)
        save(own / "newer", 2)
        save(own / "behind", 1)
        save(own / "another", 2, value=node)
        if node:
            save(own / "empty", 1)
    save(folder / "node-1" / "newer", 3)
    save(folder / "node-0" / "behind", 2)
    path = os.pathsep.join((os.environ.get("PYTHONPATH", ""), str(TESTS.parent)))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(TESTS / "agreement_worker.py")]
    children = [subprocess.Popen([*command, str(node), str(folder)], env=environment) for node in NODES]
    assert [child.wait(120) for child in children] == [0, 0]
    assert not list(folder.rglob(".shared-*"))
    return [json.loads((folder / f"found-{node}.json").read_text()) for node in NODES]


def both(found: list[dict[str, str]], case: str) -> str:
    """All processes come to the same end, so that none waits for the others."""
    messages = {each[case].replace("node-1", "node-0") for each in found}
    assert len(messages) == 1, messages
    return messages.pop()


def test_equal_processes_go_on(found: list[dict[str, str]]) -> None:
    assert both(found, "agreed") == "None"


def test_rows_come_back_by_their_index_and_gradients_are_added_up(found: list[dict[str, Any]]) -> None:
    for each in found:
        assert each["rows"] == [0, 1, 2, 3, 4, 5]
        assert each["sum"] == 1 + 2


def test_another_configuration_is_refused_with_its_keys(found: list[dict[str, str]]) -> None:
    message = both(found, "configurations")
    assert message.startswith("exit code 2: processes have different configurations: process 1 and process 0 differ in")
    assert "run.steps." in message


def test_a_run_folder_that_is_not_shared_is_refused(found: list[dict[str, str]]) -> None:
    message = both(found, "unshared")
    assert message.startswith("exit code 2: ")
    assert "unshared (--out) is not shared: process 1 cannot see what process 0 writes there" in message


def test_a_cache_of_prompts_that_is_not_shared_is_refused(found: list[dict[str, str]]) -> None:
    assert both(found, "all cached") == "None"
    message = both(found, "cached")
    assert message.startswith("exit code 2: backbone.cache is not shared: process 1 (node 1) lacks 1 of the prompts")


def test_a_folder_that_the_first_process_cannot_make_ends_both(found: list[dict[str, str]]) -> None:
    assert both(found, "file").startswith("exit code ")


@pytest.mark.parametrize("case", ["same", "newer"])
def test_the_first_process_decides_the_step(found: list[dict[str, str]], case: str) -> None:
    assert both(found, case) == "checkpoint-000002"


def test_nothing_found_by_the_first_is_a_start_from_zero(found: list[dict[str, str]]) -> None:
    assert both(found, "empty") == "None"


@pytest.mark.parametrize(("case", "reason"), [("behind", "cannot be read"), ("another", "step 2, digest")])
def test_a_process_that_would_go_on_elsewhere_stops_all(found: list[dict[str, str]], case: str, reason: str) -> None:
    message = both(found, case)
    assert message.startswith("exit code 2: process 0 reads ") and "process 1 found there: " in message
    assert reason in message.split("found there: ")[1]


def second_of_two(*first: object) -> Any:
    """The second process; what the first says, time after time."""
    said = list(first)
    return SimpleNamespace(size=2, is_main=False, gather_objects=lambda value: [said.pop(0), value])


def test_a_lora_to_start_from_is_the_same_in_all_processes() -> None:
    policy: Any = SimpleNamespace(start="one")
    check_same_start(policy, second_of_two("one"))
    with pytest.raises(UsageError, match=r"policy.init: process 1 and process 0 read different files"):
        check_same_start(policy, second_of_two("another"))


def test_the_first_process_decides_whose_policy_is_read(tmp_path: Path) -> None:
    """Also of a run that has gone on meanwhile."""
    save(tmp_path, 2)
    seen = f"step 2, digest {checkpoint.meta_digest(checkpoint.read_meta(tmp_path / 'checkpoint-000002'))[:16]}"
    save(tmp_path, 3)
    assert find_checkpoint(tmp_path, None, World()).name == "checkpoint-000003"
    assert find_checkpoint(tmp_path, None, second_of_two("checkpoint-000002", seen)).name == "checkpoint-000002"
    with pytest.raises(UsageError, match="process 1 found there: step 3, digest"):
        find_checkpoint(tmp_path, None, second_of_two("checkpoint-000003", "step 3, digest 0"))
