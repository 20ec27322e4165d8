"""How a run's weights lie on its processes, and why: as the recipe says, or as the GPUs' memory allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from omninft_train.config import MINIATURES
from omninft_train.errors import SettingError

if TYPE_CHECKING:
    from omninft_train.config import Config
    from omninft_train.training.distributed import World

LayoutName = Literal["none", "node", "all"]
# CUDA itself, and memory that is free in pieces too small to use.
_USABLE = 0.9


@dataclass(frozen=True)
class Layout:
    """How weights lie.

    Attributes:
        name: "none": each process holds them all; "node": spread over the processes of each node, which hold the same
            as the other nodes; "all": spread over all processes.
        shards: processes that one set of weights is spread over.
        reason: why this one.
    """

    name: LayoutName
    shards: int
    reason: str

    def __str__(self) -> str:
        held = {"none": "whole on each process", "node": "spread within each node", "all": "spread over all processes"}
        return f'weights lie {held[self.name]} ("{self.name}"): {self.reason}'


def choose_layout(config: Config, world: World) -> Layout:
    """The layout of a run; the same on all processes, which have to call this together.

    Raises:
        UsageError: `run.shard = "node"` where processes do not fill whole nodes, or weights in 8 bits to be spread.
    """
    if world.size == 1:
        return Layout("none", 1, "there is one process")
    wanted = config.run.shard
    if config.backbone.quantize != "none":
        if wanted not in (None, "none"):
            raise SettingError(
                f'run.shard = "{wanted}" with backbone.quantize: weights in 8 bits are not spread.', "run.shard"
            )
        return Layout("none", 1, "weights in 8 bits are not spread")
    if wanted is not None:
        if wanted == "node" and not world.fills_nodes:
            how = f"do not fill nodes of {world.node_size}" if world.alike else "are not equally many on each node"
            raise SettingError(
                f'run.shard = "node": {world.size} processes {how}. Start equally many on each node, or choose "all".',
                "run.shard",
            )
        return Layout(wanted, _layouts(world)[wanted], "the recipe says so")
    return layout_by_memory(config, world, _least_memory(world))


def layout_by_memory(config: Config, world: World, memory: int | None) -> Layout:
    """The layout with the least traffic that the GPUs have memory for.

    Args:
        memory: bytes of the smallest GPU; None without GPUs.
    """
    if memory is None:
        return Layout("none", 1, "there is no GPU whose memory could be short")
    if config.backbone.kind in MINIATURES:
        return Layout("none", 1, "the miniature fits everywhere")
    from omninft_train.training.memory import estimate

    reason = ""
    for name, shards in _layouts(world).items():
        if name == "node" and (not world.fills_nodes or shards in (1, world.size)):
            continue
        need = estimate(config, world.size, shards).peak
        reason += f'{", " if reason else ""}{need / 1e9:.0f} GB on each GPU with "{name}"'
        if need <= _USABLE * memory:
            break
    short = "" if need <= _USABLE * memory else ", which will not do"
    return Layout(name, shards, f"estimated {reason}, of {memory / 1e9:.0f} GB{short}")


def _layouts(world: World) -> dict[LayoutName, int]:
    """Each layout and its number of shards; those of less traffic first."""
    return {"none": 1, "node": world.node_size, "all": world.size}


def _least_memory(world: World) -> int | None:
    """Bytes of the smallest GPU of all processes."""
    mine = torch.cuda.get_device_properties(world.device).total_memory if world.device != "cpu" else None
    memories = [memory for memory in world.gather_objects(mine) if isinstance(memory, int)]
    return min(memories) if memories else None
