"""A small grid whose trainer is fake_trainer.py, and the command in this process, which saves imports."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omninft_train.miniature.pretrain import PretrainOptions, folder_of

FAKE = Path(__file__).parent / "fake_trainer.py"
GRID = """
name = "tiny"
title = "Tiny <b>ablation</b>"
benchmark = "fake clips"
seeds = [0, 1, 2]
jobs = 2

[trainer]
command = ["{python}", "FAKE"]
version = "1"

[train]
run.steps = 4

[evaluate]
samples = 2

[variant.base]
label = "base"

[variant.vanilla]
label = "+ vanilla"
recipe = "gdpo"

[variant.routing]
label = "+ routing & more"
recipe = "omninft-routing"
set.optimizer = { lr = 2e-4 }

[table.table3]
title = "Table 3"
baseline = "vanilla"
rows = [{ variant = "base" }, { variant = "vanilla" }, { variant = "routing" }]

[table.table2]
title = "Table 2"
rows = [{ variant = "vanilla", group = "one" }, { variant = "routing", group = "two" }]

[metric.picture]
direction = "higher"

[metric.sound]
direction = "higher"

[metric.av_align]
direction = "higher"

[metric.distance]
direction = "lower"

[budget.smoke]
seeds = [0]
tables = ["table3"]
train.run.steps = 2
"""


@pytest.fixture(scope="session", autouse=True)
def pretrained_name() -> Iterator[None]:
    """Tells the fake trainer where the ablation looks for a pretraining; it cannot import torch in milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_PRETRAINED", folder_of(Path(), PretrainOptions()).name)
        yield


@pytest.fixture
def grid_text() -> str:
    """A grid of three variants and three seeds."""
    return GRID.replace("FAKE", str(FAKE))


@pytest.fixture
def grid_file(tmp_path: Path, grid_text: str) -> Path:
    """The grid as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(grid_text, encoding="utf-8")
    return path


@pytest.fixture
def small_grid(tmp_path: Path, grid_text: str) -> Path:
    """The grid with two seeds and one trained variant: six steps."""
    path = tmp_path / "small.toml"
    text = grid_text.replace("seeds = [0, 1, 2]", "seeds = [0, 1]", 1)
    text = text.replace('{ variant = "vanilla" }, { variant = "routing" }]', '{ variant = "vanilla" }]')
    path.write_text(text[: text.index("[table.table2]")] + text[text.index("[metric.picture]") :], encoding="utf-8")
    return path


@pytest.fixture
def avbench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., SimpleNamespace]]:
    """Run `avbench` in the test's folder, in this process; `fake` are variables of the trainer."""
    from avbench.cli import main

    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: Any, fake: dict[str, str] | None = None) -> SimpleNamespace:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["avbench", *map(str, arguments)])
            for name, value in {"COLUMNS": "200", **(fake or {})}.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                main()
        out, error = capfd.readouterr()
        return SimpleNamespace(returncode=end.value.code or 0, stdout=out, stderr=error)

    yield run
    signal.signal(signal.SIGTERM, before)
