"""benchmarks/train_device.py, for want of a GPU: whether it works, on a tiny network, and what it says here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "train_device.py"


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, timeout=600
    )


@pytest.mark.long
def test_a_tiny_network_takes_the_same_steps_in_both_batches(tmp_path: Path) -> None:
    done = call(str(tmp_path / "out.json"), "--tiny")
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {row["name"]: row for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    passes = [f"{kind}, batch {batch}" for batch in (1, 4) for kind in ("pass without gradients", "optimiser step")]
    assert list(rows) == ["load", *passes]
    assert all(row["seconds"] > 0 and row["peak"] is None and row["estimate"] > 0 for row in rows.values())
    assert all(row["gradient_norm"] > 0 for name, row in rows.items() if "optimiser" in name)
    assert done.stdout.count("not measured on a CPU") == len(rows)


@pytest.mark.long
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    done = call(str(tmp_path / "out.json"))
    assert done.returncode == 1 and not (tmp_path / "out.json").exists()
    assert [line for line in done.stderr.splitlines() if "GPU" in line] == [
        "train_device.py: torch finds no GPU, and LTX-2's true size needs one of 80 GB; --tiny runs on the CPU"
    ]
