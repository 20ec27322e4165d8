"""Weights from files into networks that were built without memory: read once per node, kept in shares.

A network is built on torch's meta device, gets its adapters or copies, and is sharded; only then does it get memory. So
no process ever holds more than its share and the one tensor that is on its way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from omninft_train.errors import EnvironmentProblem
from omninft_train.models.policy import Policy

WEIGHTS = "diffusion_pytorch_model.safetensors"


def load_policy(
    policy: Policy, source: Path, device: str, node_size: int = 1, timeout: timedelta | None = None
) -> None:
    """Give memory and weights to all networks of a policy that was built on the meta device, and sharded or not.

    All processes have to call this together.

    Args:
        policy: its optimiser is made afterwards, since parameters are replaced.
        source: file of the weights, or folder of a network as diffusers saves one.
        device: of the weights.
        node_size: processes of a node, which have consecutive ranks; the first one reads for all.
        timeout: how long they wait for it; None for the default of torch.

    Raises:
        EnvironmentProblem: a file cannot be read, or a weight is missing or of another shape.
    """
    networks = policy.networks()
    for network in networks:
        _check_files_suffice(network)
        network.to_empty(device=torch.device(device))
    node = _node(node_size, timeout)
    _fill(_parameters(networks), source, torch.device(device), node)
    if node not in (None, dist.group.WORLD):
        dist.destroy_process_group(node)  # it has memory of its own
    policy.draw()


def _check_files_suffice(network: nn.Module) -> None:
    """What `to_empty` would leave undefined or tear apart; LTX-2 has none of it."""
    count = sum(1 for _ in network.parameters())
    if list(network.buffers()) or count != sum(1 for _ in network.named_parameters(remove_duplicate=False)):
        raise RuntimeError(f"{type(network).__name__} has buffers or tied weights, which cannot be loaded in shares")


def _parameters(networks: Sequence[nn.Module]) -> dict[str, list[nn.Parameter]]:
    """Parameters by their names in files, those of all networks together; adapters are in no file."""
    parameters: dict[str, list[nn.Parameter]] = {}
    for network in networks:
        for name, parameter in network.named_parameters():
            if ".lora_" not in name:
                parameters.setdefault(name.replace(".base_layer.", "."), []).append(parameter)
    return dict(sorted(parameters.items()))


def _node(size: int, timeout: timedelta | None) -> dist.ProcessGroup | None:
    """The processes that share a reader; all of them where nodes are not alike, None for this one alone."""
    world = dist.get_world_size() if dist.is_initialized() else 1
    if world == 1 or size == 1:
        return None
    if world % size or world == size:
        return dist.group.WORLD
    return dist.new_subgroups(size, timeout=timeout)[0]


@torch.no_grad()
def _fill(
    parameters: Mapping[str, list[nn.Parameter]], source: Path, device: torch.device, node: dist.ProcessGroup | None
) -> None:
    reads = node is None or dist.get_rank(node) == 0
    files, problem = _opened(source, parameters) if reads else ({}, None)
    if node is not None:
        problems = [problem]
        dist.broadcast_object_list(problems, group=node, group_src=0, device=device)
        problem = problems[0]
    if problem is not None:
        raise EnvironmentProblem(f"{source}: the weights cannot be loaded ({problem}).")
    for name, targets in parameters.items():
        like = targets[0]
        if reads:
            whole = files[name].get_tensor(name).to(device, like.dtype)
        else:
            whole = torch.empty(like.shape, dtype=like.dtype, device=device)
        if node is not None:
            dist.broadcast(whole, group=node, group_src=0)
        for parameter in targets:
            _keep_shard(parameter, whole)


def _keep_shard(parameter: nn.Parameter, whole: Tensor) -> None:
    """Copy what this process holds of a tensor that it has whole."""
    if hasattr(parameter, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        layout: Any = parameter
        whole = distribute_tensor(whole, layout.device_mesh, layout.placements, src_data_rank=None)
    parameter.copy_(whole)


def _opened(source: Path, parameters: Mapping[str, list[nn.Parameter]]) -> tuple[dict[str, Any], str | None]:
    """The open file of each parameter, or what is wrong; nothing is read of the weights yet."""
    files: dict[str, Any] = {}
    try:
        for path in _files(source):
            file: Any = safe_open(path, framework="pt")
            files |= dict.fromkeys(file.keys(), file)
        for name, (parameter, *_) in parameters.items():
            if name not in files:
                return {}, f"{name} is missing"
            shape = tuple(files[name].get_slice(name).get_shape())
            if shape != tuple(parameter.shape):
                return {}, f"{name} has shape {shape}, expected {tuple(parameter.shape)}"
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        return {}, str(error).partition("\n")[0]
    return files, None


def _files(source: Path) -> list[Path]:
    """The files of a network: one, or those that its index names."""
    if source.is_file():
        return [source]
    index = source / f"{WEIGHTS}.index.json"
    if not index.is_file():
        return [source / WEIGHTS]
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return [source / name for name in sorted(set(names))]
