"""Forks processes that join as those of torchrun do; each works off a list of jobs. Tests call `work_off`."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.multiprocessing import start_processes

from omninft_train.config import Config
from omninft_train.models.latents import Latents
from omninft_train.recipe import load
from omninft_train.training import experience
from omninft_train.training.assemble import assemble
from omninft_train.training.distributed import World, joined
from omninft_train.training.trainer import train

TESTS = Path(__file__).parent


def work_off(
    jobs: Sequence[Mapping[str, Any]], folder: Path, *, size: int, node_size: int, last_node: int | None = None
) -> None:
    """Let `size` processes, `node_size` to a node, do jobs together; "job" is "<module>:<function>" of one.

    `last_node`: processes of the last node, where it has fewer.
    """
    folder.mkdir(exist_ok=True)
    plan = folder / "plan.json"
    nodes = [node_size] * size
    if last_node:
        nodes[-last_node:] = [last_node] * last_node
    plan.write_text(json.dumps({"jobs": list(jobs), "size": size, "nodes": nodes, "port": free_port()}))
    command = [sys.executable, __file__, str(plan)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]


def environment() -> dict[str, str]:
    """Of a worker: it imports as the tests do, and takes one thread."""
    path = os.pathsep.join((str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def torchrun_variables(rank: int, size: int, node_size: int, port: int) -> dict[str, str]:
    """What torchrun puts into the environment of a process."""
    numbers = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank % node_size, "LOCAL_WORLD_SIZE": node_size}
    numbers["MASTER_PORT"] = port
    return {"MASTER_ADDR": "127.0.0.1"} | {name: str(number) for name, number in numbers.items()}


def run_training(job: Mapping[str, Any], world: World) -> None:
    """Train; leave how many numbers of all networks this process holds."""
    config = load(job["recipe"], job["backbone"], job["changes"])
    with breaking(job.get("broken", []), config, world):
        training = assemble(config, Path(job["out"]), world)
        train(training)
    parameters: list[Any] = [p for network in training.policy.networks() for p in network.parameters()]
    held = sum(p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in parameters)
    sizes = {"held": held, "whole": sum(p.numel() for p in parameters)}
    (Path(job["out"]) / f"sizes-{world.rank}.json").write_text(json.dumps(sizes))


@contextmanager
def breaking(broken: Sequence[int], config: Config, world: World) -> Iterator[None]:
    """Let rollouts of these numbers come out as what is not finite; all of a process are sampled in one batch."""
    rows = [row for row, number in enumerate(world.mine(config.prompts.rollouts)) if number in broken]
    real = experience.sample

    def sample(*arguments: Any, **options: Any) -> Latents:
        latents = real(*arguments, **options)
        latents.video[rows, 1, 2], latents.audio[rows, 0, 0] = torch.nan, torch.inf
        return latents

    with mock.patch.object(experience, "sample", sample):
        yield


def _join(rank: int, plan: Mapping[str, Any]) -> None:
    """One process."""
    torch.set_num_threads(1)
    os.environ.update(torchrun_variables(rank, plan["size"], plan["nodes"][rank], plan["port"]))
    with joined() as world:
        for job in plan["jobs"]:
            _function(job["job"])(job, world)


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


if __name__ == "__main__":
    content = json.loads(Path(sys.argv[1]).read_text())
    for one in content["jobs"]:
        _function(one["job"])  # imported once, before processes are forked
    start_processes(_join, (content,), nprocs=content["size"], start_method="fork")
