"""Data-parallel processes: rank, rows gathered in order, gradients summed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from omninft_train.training.failing import ending_together

TIMEOUT = timedelta(hours=2)
"""How long processes wait for each other: longer than reading weights, encoding prompts or judging takes.

A process that fails does not cost this time, see `ending_together`.
"""


@dataclass(frozen=True)
class World:
    """This process among `size`; rollouts are dealt out by index, so that no result depends on the number.

    `node_size` processes with consecutive ranks share a node.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    node_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether it writes files and logs."""
        return self.rank == 0

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

    Where a process fails inside, all end, see `ending_together`.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    cuda = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = f"cuda:{local}" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(local)
    if size == 1:
        yield World(device=device)
        return
    dist.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    world = World(dist.get_rank(), size, device, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    with ending_together(world.rank):
        yield world
        world.barrier()  # the store that tells of failures may go with the first process
    dist.destroy_process_group()  # not after a failure: it would wait for the others
