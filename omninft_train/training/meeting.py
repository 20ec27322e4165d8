"""Where processes meet before they join: the store that torchrun, or the first process, keeps for all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from omninft_train.errors import EnvironmentProblem

START = timedelta(minutes=10)
"""How long processes wait for each other to start.

Nothing is loaded before, so it takes seconds, or minutes where Python reads its packages over a slow network.
"""


@dataclass(frozen=True)
class Meeting:
    """All processes have started.

    Attributes:
        store: to join by.
        devices: "cuda" or "cpu", by rank.
    """

    store: Any
    devices: tuple[str, ...]

    def check_devices(self) -> None:
        """Make sure that processes can join: GPUs and processors talk in different ways.

        Raises:
            EnvironmentProblem: some processes have a GPU that torch can use, and others have none.
        """
        odd = [rank for rank, device in enumerate(self.devices) if device != self.devices[0]]
        if odd:
            raise EnvironmentProblem(
                f"{name_processes(odd)} would compute on {self.devices[odd[0]]} and process 0 on {self.devices[0]}: "
                "torch finds a GPU on some nodes alone. Compare what torch.cuda.is_available() says there."
            )


def meet(rank: int, size: int, device: str) -> Meeting:
    """Wait until all processes of a run have started.

    Args:
        device: "cuda" or "cpu".

    Raises:
        EnvironmentProblem: some did not within `START`, which is how a process that failed to start looks.
    """
    keys = [f"started/{one}" for one in range(size)]
    try:
        store = open_store(serves=rank == 0)
    except RuntimeError as error:
        raise _absent("process 0") from error
    store.set(keys[rank], device)
    try:
        store.wait(keys, START)
        return Meeting(store, tuple(store.get(key).decode() for key in keys))
    except RuntimeError as error:
        raise _absent(_missing(store, keys)) from error


def open_store(*, serves: bool = False) -> Any:
    """A connection to the store of this run; `serves`: this process keeps it, unless torchrun does.

    Raises:
        RuntimeError: nobody keeps it within `START`.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    mine = serves and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    store = dist.TCPStore(  # type: ignore[attr-defined]
        address, port, is_master=mine, timeout=START, wait_for_workers=False
    )
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(f"omninft-train/{attempt}", store)  # type: ignore[attr-defined]


def name_processes(ranks: Sequence[int]) -> str:
    """Processes by their ranks, at most eight of them."""
    shown = ", ".join(map(str, ranks[:8])) + (" ..." if len(ranks) > 8 else "")
    return f"process {shown}" if len(ranks) == 1 else f"processes {shown}"


def _missing(store: Any, keys: Sequence[str]) -> str:
    try:
        return name_processes([rank for rank, key in enumerate(keys) if not store.check([key])])
    except RuntimeError:  # it went with the first process
        return "another process"


def _absent(who: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"{who} did not start within {START.total_seconds() / 60:g} minutes. See what was printed there, and whether "
        "its node has the same environment, the same command, and a way to process 0."
    )
