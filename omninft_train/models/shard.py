"""Parameters spread over processes with FSDP2: each block by itself, the rest with the root."""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from omninft_train.errors import UsageError
from omninft_train.models.policy import Policy


def make_mesh(device: str, shards: int, timeout: timedelta | None = None) -> DeviceMesh:
    """The mesh that `shard` takes for one set of weights on each `shards` processes of consecutive ranks.

    Args:
        device: kind of the device, "cuda" or "cpu".
        shards: a divisor of the number of processes.
        timeout: how long processes wait for each other; None for the default of torch.

    Raises:
        UsageError: no processes have been joined.
    """
    if not dist.is_initialized():
        raise UsageError("sharding needs joined processes: start with torchrun.")
    size = dist.get_world_size()
    group: Any = dist.group.WORLD
    if shards == size:
        return DeviceMesh.from_group(group, device)
    ranks = torch.arange(size).view(-1, shards)
    # `init_device_mesh` makes groups that wait ten minutes, whatever the processes were joined with.
    replicas: Any
    sharding: Any
    replicas, _ = dist.new_subgroups_by_enumeration(ranks.T.tolist(), timeout)
    sharding, _ = dist.new_subgroups_by_enumeration(ranks.tolist(), timeout)
    return DeviceMesh.from_group([replicas, sharding], device, ranks, mesh_dim_names=("replicas", "shards"))


def shard(policy: Policy, mesh: DeviceMesh) -> None:
    """Shard all networks of a policy in place; make the optimiser afterwards, its parameters are new ones.

    Weights keep their formats. Gradients are reduced in float32 and added up, not averaged, over shards and over
    replicas: a loss that was divided by the number of rollouts of all processes then gives the gradients that one
    process would have. All processes have to run equally many passes.

    Args:
        policy: on the device that the processes compute on, or on the meta device.
        mesh: as from `make_mesh`; of one dimension, or of replicas and shards.
    """
    # The network returns views, and nothing writes into them, which is what torch warns of.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    precision = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    for network in policy.networks():
        blocks: Any = network.transformer_blocks
        for part in (*blocks, network):
            # The root too: by default it stays whole until a backward pass, and the old policy never has one.
            module: FSDPModule = fully_shard(part, mesh=mesh, mp_policy=precision, reshard_after_forward=True)
            module.set_gradient_divide_factor(1.0)
            # Not every backend can scale while it reduces.
            module.set_force_sum_reduction_for_comms(True)
