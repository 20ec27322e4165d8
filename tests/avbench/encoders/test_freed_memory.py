# ruff: noqa: E402
"""What tensors free goes back to the system: a long clip holds no more memory than a short one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from avbench.encoders import ClipInput, Encoder
from avbench.encoders.freed_memory import _c_library, give_back_freed_memory
from avbench.encoders.networks.amt.encoders import GUESSES
from avbench.encoders.networks.raft import network as raft
from avbench.encoders.networks.raft.encoders import EIGHTHS

pytestmark = pytest.mark.skipif(not hasattr(_c_library(), "malloc_trim"), reason="the C library gives nothing back")

MIB = 2**20
FREED = 96
"""MiB that `leave_gaps` frees."""


class Leaky(torch.nn.Module):
    """Frees memory that its C library keeps, and notes how many MiB are resident at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.resident: list[int] = []
        self.kept: list[Any] = []

    def forward(self, first: Any, second: Any) -> Any:
        """The first picture."""
        self.resident.append(resident())
        self.kept.append(leave_gaps())
        return first


def resident() -> int:
    """MiB of this process that belong to no file."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def leave_gaps() -> Any:
    """Free small tensors below one that stays; returns that one."""
    torch.ones(7 * MIB)  # from now on glibc keeps tensors that are smaller
    tensors = [torch.ones(MIB // 4) for _ in range(FREED + 1)]
    return tensors[-1]


def test_freed_memory_goes_back() -> None:
    kept = leave_gaps()
    before = resident()
    give_back_freed_memory()
    assert resident() < before - FREED // 2
    assert kept.sum() == MIB // 4


@pytest.mark.parametrize("encoder", [GUESSES, EIGHTHS])
def test_pairs_of_frames_leave_nothing_to_later_ones(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raft, "flow", lambda network, first, second: network(first, second))
    network, frames = Leaky(), np.zeros((36, 128, 128, 3), dtype=np.uint8)
    give_back_freed_memory()
    start = resident()
    with torch.inference_mode():
        encoder.run(network, [ClipInput((frames,))])
    assert len(network.resident) > 16
    assert max(network.resident[::8]) < start + FREED // 2  # each eighth one begins with what was freed given back
