"""Weights from files into networks that were built without memory: read once per node, kept in shares.

A network is built on torch's meta device, gets its adapters or copies, and is sharded; only then does it get memory. So
no process ever holds more than its share and the one tensor that is on its way. Checkpoints are read in the same way,
and so is what `quantize` rounds, before it gets adapters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.models.policy import Policy, copy_part

WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"


@dataclass(frozen=True)
class Node:
    """Processes of which the first reads for all; without a group, this process for itself.

    All of them have to call `tell` and `send` alike.

    Attributes:
        group: the processes.
        device: that tensors are sent on.
    """

    group: dist.ProcessGroup | None = None
    device: str = "cpu"

    @property
    def reads(self) -> bool:
        """Whether this is the process that reads."""
        return self.group is None or dist.get_rank(self.group) == 0

    def tell(self, value: Any) -> Any:
        """What the reader says."""
        if self.group is None:
            return value
        values = [value if self.reads else None]
        dist.broadcast_object_list(values, group=self.group, group_src=0, device=torch.device(self.device))
        return values[0]

    def send(self, tensor: Tensor) -> Tensor:
        """The reader's tensor, in all processes; where this is another one, `tensor` is overwritten."""
        if self.group is not None:
            dist.broadcast(tensor, group=self.group, group_src=0)
        return tensor


OWN_READER = Node()
"""A process that reads for itself."""


@contextmanager
def sharing_node(size: int, device: str, timeout: timedelta | None = None) -> Iterator[Node]:
    """The processes that share a reader with this one. All processes have to call this together.

    Args:
        size: processes of a node, which have consecutive ranks; where nodes are not alike, one process reads for all.
        device: that tensors are sent on.
        timeout: how long they wait for each other; None for the default of torch.
    """
    group = _group(size, timeout)
    yield Node(group, device)
    if group not in (None, dist.group.WORLD):
        dist.destroy_process_group(group)  # it has memory of its own; after a failure it would wait for the others


class SharedTensors(Mapping[str, Tensor]):
    """Tensors that the first process of a node reads, each when it is asked for, and the others get from it.

    Nothing is kept. All processes of the node have to ask for the same tensors in the same order.

    Args:
        file: an open safetensors file; in processes that do not read, None.
        path: of that file, for messages.
        node: the processes.
    """

    def __init__(self, file: Any, path: Path, node: Node) -> None:
        self._file, self._path, self._node = file, path, node
        self._names: dict[str, None] = dict.fromkeys(node.tell(tuple(file.keys()) if node.reads else None))

    def __contains__(self, name: object) -> bool:
        return name in self._names  # what `Mapping` does reads the tensor

    def __getitem__(self, name: str) -> Tensor:
        """A tensor.

        Raises:
            KeyError: there is none of that name.
            UsageError: it cannot be read.
        """
        if name not in self._names:
            raise KeyError(name)
        node = self._node
        if not node.reads:
            shape, dtype = node.tell(None)
            return node.send(torch.empty(shape, dtype=dtype, device=node.device))
        try:
            tensor: Tensor = self._file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise UsageError(f"{self._path} is damaged ({name} cannot be read: {error}).") from error
        if node.group is None:
            return tensor
        node.tell((tensor.shape, tensor.dtype))
        return node.send(tensor.to(node.device))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def load_policy(
    policy: Policy, source: Path, device: str, node_size: int = 1, timeout: timedelta | None = None
) -> None:
    """Give memory and weights to all networks of a policy that was built on the meta device, and sharded or not.

    All processes have to call this together.

    Args:
        policy: its optimiser is made afterwards, since parameters are replaced.
        source: file of the weights, or folder of a network as diffusers saves one.
        device: of the weights.
        node_size, timeout: see `sharing_node`.

    Raises:
        EnvironmentProblem: a file cannot be read, or a weight is missing or of another shape.
    """
    networks = policy.networks()
    for network in networks:
        check_files_suffice(network)
        network.to_empty(device=torch.device(device))
    with sharing_node(node_size, device, timeout) as node:
        parameters = _parameters(networks)
        for name, whole in whole_tensors({name: same[0] for name, same in parameters.items()}, source, node):
            for parameter in parameters[name]:
                copy_part(parameter, whole)
            del whole  # before the next one is read
    policy.draw()


def check_files_suffice(network: nn.Module) -> None:
    """What files do not fill, or memory of its own would tear apart; LTX-2 has none of it."""
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


def _group(size: int, timeout: timedelta | None) -> dist.ProcessGroup | None:
    """The processes that share a reader; all of them where nodes are not alike, None for this one alone."""
    world = dist.get_world_size() if dist.is_initialized() else 1
    if world == 1 or size == 1:
        return None
    if world % size or world == size:
        return dist.group.WORLD
    return dist.new_subgroups(size, timeout=timeout)[0]


def whole_tensors(parameters: Mapping[str, nn.Parameter], source: Path, node: Node) -> Iterator[tuple[str, Tensor]]:
    """Weights from files one after another, each in all processes of the node before the next one is read.

    Args:
        parameters: what is asked for by names in files, in the order that all processes ask in; their shapes and
            formats are those of the tensors.
        source: see `load_policy`.
        node: the processes; tensors are on its device.

    Raises:
        EnvironmentProblem: a file cannot be read, or a weight is missing or of another shape.
    """
    files, problem = _opened(source, parameters) if node.reads else ({}, None)
    problem = node.tell(problem)
    if problem is not None:
        raise EnvironmentProblem(f"{source}: the weights cannot be loaded ({problem}).")
    for name, like in parameters.items():
        shape, dtype = like.shape, like.dtype
        if node.reads:  # a copy: what is read is the file itself, mapped into memory
            yield name, node.send(files[name].get_tensor(name).to(node.device, dtype, copy=True))
        else:
            yield name, node.send(torch.empty(shape, dtype=dtype, device=node.device))


def _opened(source: Path, parameters: Mapping[str, nn.Parameter]) -> tuple[dict[str, Any], str | None]:
    """The open file of each parameter, or what is wrong; nothing is read of the weights yet."""
    files: dict[str, Any] = {}
    try:
        for path in weight_files(source):
            file: Any = safe_open(path, framework="pt")
            files |= dict.fromkeys(file.keys(), file)
        for name, parameter in parameters.items():
            if name not in files:
                return {}, f"{name} is missing"
            shape = tuple(files[name].get_slice(name).get_shape())
            if shape != tuple(parameter.shape):
                return {}, f"{name} has shape {shape}, expected {tuple(parameter.shape)}"
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        return {}, str(error).partition("\n")[0]
    return files, None


def weight_files(source: Path) -> list[Path]:
    """The files of a network: one, or those that its index names."""
    if source.is_file():
        return [source]
    index = source / INDEX
    if not index.is_file():
        return [source / WEIGHTS]
    names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return [source / name for name in sorted(set(names))]
