"""Benchmarks follow the code: what they count in small networks is right, and places that they observe exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from avbench.encoders import LoadContext, WeightsConfig
from avbench.metrics.base import get_scorers
from avbench.suites import get_suite

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytest.importorskip("torch")


@pytest.fixture
def observed(monkeypatch):
    """benchmarks/observed.py as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return pytest.importorskip("observed")


def test_every_observed_network_has_the_entries_that_are_observed(observed):
    scorers = get_scorers((*get_suite("omninft-tables").metrics, *get_suite("vbench-quality").metrics))
    backbones = {backbone.name: backbone for scorer in scorers for backbone in scorer.backbones}
    assert set(observed.ENTRIES) <= set(backbones)
    for name, entries in observed.ENTRIES.items():
        network = backbones[name].load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu"))
        for entry in entries:
            owner, method = observed._owner(observed._module(network), entry)
            assert callable(getattr(owner, method)), f"{name} has no {entry}"


@pytest.mark.long
def test_shared_work_of_javisbench_is_counted():
    """Exit code 1 would say that a count is above its bound."""
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--javisbench", "--networks", "reduced", "--only", "counts"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "imagebind: pictures" in done.stdout
