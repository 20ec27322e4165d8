"""Two processes with sharded parameters do what one process does: gloo, on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from shard_worker import KEEP, ROLES, ROLLOUTS, Setting, make, run
from torch import Tensor

from omninft_train.errors import UsageError
from omninft_train.models.shard import make_mesh

TESTS = Path(__file__).parents[2]
SIZE = 2
FAST = Setting("lora")
MORE = [
    Setting("full"),
    Setting("lora", "ltx23", checkpointing=True, where="kv"),
    Setting("full", "ltx23", where="kv"),
    Setting("lora", half=True),
    Setting("full", checkpointing=True),
]


def by_processes(settings: list[Setting], folder: Path) -> list[list[dict[str, Any]]]:
    """What each process found, for each setting."""
    torch.save([asdict(setting) for setting in settings], folder / "settings.pt")
    worker = TESTS / "shard_worker.py"
    path = os.pathsep.join((str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(worker), str(SIZE), str(folder / "settings.pt"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "returned a view tensor" not in done.stderr
    return [
        [torch.load(folder / str(number) / f"rank-{rank}.pt") for rank in range(SIZE)]
        for number in range(len(settings))
    ]


def close(found: Tensor, wanted: Tensor, tolerance: float, what: str) -> None:
    """Equal but for the order of summation."""
    assert found.shape == wanted.shape and found.dtype == wanted.dtype, what
    scale = float(wanted.abs().max()) + 1e-6
    assert float((found - wanted).abs().max()) <= tolerance * scale, what


def check(setting: Setting, parts: list[dict[str, Any]]) -> None:
    policy, case = make(setting)
    with torch.random.fork_rng():
        whole = run(policy, case, setting, list(range(ROLLOUTS)))
    tolerance = 2e-2 if setting.half else 1e-5
    _check_rollouts(parts, whole, tolerance)
    for part in parts:
        for key in ("gradient", "surgery", "before", "now", "old"):
            assert part[key].keys() == whole[key].keys(), key
        for key in ("gradient", "surgery"):
            for name, wanted in whole[key].items():
                close(part[key][name], wanted, 5 * tolerance, f"{key} {name}")
        assert all(torch.equal(part["before"][name], value) for name, value in whole["before"].items())
        assert part["norm"] == pytest.approx(whole["norm"], rel=10 * tolerance)
        _check_old(part)
        _check_shards(part, setting)
    for key in ("gradient", "now", "old"):  # gathered: the same on every process, bit for bit
        assert all(torch.equal(parts[0][key][name], value) for name, value in parts[1][key].items())
    _check_surgery(parts[0], setting)


def _check_rollouts(parts: list[dict[str, Any]], whole: dict[str, Any], tolerance: float) -> None:
    """Each process has its rollouts' velocities and attention."""
    for part in parts:
        rows = part["rows"]
        for role in ROLES:
            for stream in (0, 1):
                wanted = whole["velocity"][role][stream][rows]
                close(part["velocity"][role][stream], wanted, tolerance, f"velocity {role}")
        close(part["attention"], whole["attention"][rows], tolerance, "attention")
    distances = [float((whole["velocity"]["policy"][0] - whole["velocity"][role][0]).abs().max()) for role in ROLES[1:]]
    assert min(distances) > 0.01, "roles that do not differ would prove nothing"


def _check_old(part: dict[str, Any]) -> None:
    """The old policy followed: a quarter of the way to where the optimiser's step led."""
    for name, value in part["old"].items():
        wanted = 0.75 * part["before"][name] + 0.25 * part["now"][name]
        assert torch.allclose(value, wanted, atol=1e-6), name


def _check_shards(part: dict[str, Any], setting: Setting) -> None:
    facts = part["facts"]
    assert facts["unsharded"] == []
    assert 0.4 * facts["whole"] < facts["local"] < 0.6 * facts["whole"]
    if setting.kind == "lora":
        assert facts["dtypes"] == ["torch.float32"]
    policy, old = part["loaded"]
    assert all(torch.equal(value, torch.full_like(value, 0.5)) for value in policy.values())
    assert all(torch.equal(old[name], value) for name, value in part["old"].items())


def _check_surgery(part: dict[str, Any], setting: Setting) -> None:
    """Gradients change below the cut and, bit for bit, nowhere else; nothing kept means exactly zero."""
    plain, cut = part["gradient"], part["surgery"]
    same = {name for name in plain if torch.equal(plain[name], cut[name])}
    last = f"transformer_blocks.{len(KEEP) - 1}.ff."
    assert {name for name in plain if name.startswith(last)} <= same
    assert any(name.startswith("transformer_blocks.0.audio_attn1.to_v") for name in plain.keys() - same)
    if setting.where == "kv":
        first = "transformer_blocks.0.audio_to_video_attn"
        keys = [name for name in plain if name.startswith((f"{first}.to_k", f"{first}.to_v"))]
        assert keys and all(not cut[name].any() for name in keys)
        assert any(plain[name].any() for name in keys)


@pytest.mark.long
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Adapters, from velocities to a step of the optimiser, the old policy and checkpoints."""
    (parts,) = by_processes([FAST], tmp_path)
    check(FAST, parts)


@pytest.mark.slow
def test_two_processes_train_as_one_whatever_the_setting(tmp_path: Path) -> None:
    """Whole networks, LTX-2.3, bfloat16 below float32 adapters, checkpointing, surgery on keys and values."""
    for setting, parts in zip(MORE, by_processes(MORE, tmp_path), strict=True):
        check(setting, parts)


def test_sharding_alone_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="start with torchrun"):
        make_mesh("cpu", 1)
