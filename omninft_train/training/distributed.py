"""Data-parallel processes: rank, rows gathered in order, gradients summed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from omninft_train.training.failing import ending_together
from omninft_train.training.meeting import meet

TIMEOUT = timedelta(hours=2)
"""How long joined processes wait for each other: longer than reading weights, encoding prompts or judging takes.

A process that fails does not cost this time, see `ending_together`; nor does one that never starts, see `meet`.
"""


@dataclass(frozen=True)
class World:
    """This process among `size`; rollouts are dealt out by index, so that no result depends on the number.

    `node_size` processes with consecutive ranks share a node; where nodes are not `alike`, it is that of the largest.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    node_size: int = 1
    alike: bool = True

    @property
    def is_main(self) -> bool:
        """Whether it writes files and logs."""
        return self.rank == 0

    @property
    def fills_nodes(self) -> bool:
        """Whether every `node_size` processes are a node."""
        return self.alike and self.size % self.node_size == 0

    def mine(self, count: int) -> list[int]:
        """Indices of `count` items that this process handles."""
        return list(range(self.rank, count, self.size))

    def gather_rows(self, rows: Tensor) -> Tensor:
        """All processes' rows in the order of their indices; the inverse of `mine`. All have equally many."""
        if self.size == 1:
            return rows
        rows = rows.to(self.device).contiguous()
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows)
        return torch.stack(parts, dim=1).flatten(0, 1).cpu()

    def gather_objects(self, value: object) -> list[object]:
        """One value of each process, by rank."""
        if self.size == 1:
            return [value]
        values: list[object] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Add up tensors of all processes in place; sharded ones are summed by FSDP already, replicas included."""
        if self.size == 1:
            return
        for tensor in tensors:
            if not hasattr(tensor, "device_mesh"):
                dist.all_reduce(tensor)

    def barrier(self) -> None:
        """Wait for all."""
        if self.size > 1:
            dist.barrier()


ALONE = World()
"""One process on the CPU."""


@contextmanager
def joined() -> Iterator[World]:
    """The world that torchrun describes in the environment, or this process alone.

    Where a process fails inside, all end, see `ending_together`. So what may fail on one node alone belongs inside.

    Raises:
        EnvironmentProblem: a process never starts, or only some of them have a GPU.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = f"cuda:{local}" if kind == "cuda" else "cpu"
    if size == 1:
        _take(device)
        yield World(device=device)
        return
    world = World(int(os.environ["RANK"]), size, device, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    meeting = meet(world.rank, size, kind)
    with ending_together(world.rank):
        meeting.check_devices()
        _take(device)
        store = dist.PrefixStore("joined", meeting.store)  # type: ignore[attr-defined]
        backend = "nccl" if kind == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=world.rank, world_size=size, timeout=TIMEOUT)
        # One number for all: where nodes are not alike, some would wait for a process that counts itself elsewhere.
        sizes: list[Any] = world.gather_objects(world.node_size)
        world = replace(world, node_size=max(sizes), alike=len(set(sizes)) == 1)
        yield world
        world.barrier()  # the store that tells of failures may go with the first process
    dist.destroy_process_group()  # not after a failure: it would wait for the others


def _take(device: str) -> None:
    """Let what names no GPU mean this one."""
    if device != "cpu":
        torch.cuda.set_device(device)
