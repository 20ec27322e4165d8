"""A few of the damaged run folders that `fuzz_run_folders.py` makes by the hundred."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fuzz.fuzz_run_folders import Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage.make(tmp_path_factory.mktemp("stage"))


# 1002 is left to `nox -s fuzz`: it makes a file of gigabytes once for each command.
@pytest.mark.parametrize(
    "seed", [1000, 1001, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1003, 1013))]
)
def test_a_damaged_folder_ends_in_one_line(stage: Stage, seed: int) -> None:
    wrong: list[str] = []
    stage.attempt(seed, wrong, Counter())
    assert not wrong, "\n".join(wrong)


def test_a_whole_folder_passes_everywhere(stage: Stage, tmp_path: Path) -> None:
    from shutil import copytree

    from fuzz.fuzz_run_folders import run

    for name, command in stage.commands(tmp_path / "run").items():
        copytree(stage.root / "good", tmp_path / "run", dirs_exist_ok=True)
        done = run(*command)
        assert done.code == 0, (name, done.error)
