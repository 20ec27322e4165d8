"""The processes of test_shard.py: each does on its share of the rollouts what the test does on all of them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tiny_ltx2 import Case, load_case, stir
from torch import Tensor
from torch.multiprocessing import start_processes

from omninft_train.models.hooks import AttentionCapture, Surgery
from omninft_train.models.latents import Latents
from omninft_train.models.policy import FullPolicy, LoraPolicy, Policy
from omninft_train.models.shard import make_mesh, shard

ROLES: tuple[Any, ...] = ("policy", "old", "reference")
KEEP = [0.0, 0.1, 0.5, 1.0, 1.0, 0.3]
ROLLOUTS = 4


@dataclass(frozen=True)
class Setting:
    """What is run.

    Attributes:
        kind: "lora" or "full".
        name: of the tiny network.
        half: with the frozen network in bfloat16; adapters stay in float32.
        checkpointing: of gradients.
        where: gradient surgery, "context" or "kv".
    """

    kind: str
    name: str = "ltx2"
    half: bool = False
    checkpointing: bool = False
    where: Any = "context"


def make(setting: Setting) -> tuple[Policy, Case]:
    """A policy that differs from its old policy and its reference."""
    case = load_case(setting.name)
    network = case.transformer()
    if setting.half:
        network = network.to(torch.bfloat16)
    if setting.checkpointing:
        network.enable_gradient_checkpointing()
    if setting.kind == "lora":
        policy: Policy = LoraPolicy(network, case.geometry, rank=4, alpha=8)
    else:
        policy = FullPolicy(network, case.geometry)
    stir(dict(policy.trainable()), 0.1 if setting.kind == "lora" else 0.02)
    policy.update_old(0.5)
    stir(dict(policy.trainable()), 0.1 if setting.kind == "lora" else 0.02)
    return policy, case


def run(policy: Policy, case: Case, setting: Setting, rows: list[int]) -> dict[str, Any]:
    """Everything that has to be the same on one process and on several; rollouts by their number.

    Gradients are of a loss divided by the number of all rollouts. At the end the optimiser makes a step and the old
    policy follows.
    """
    network: Any = policy.transformer("policy")
    surgery = Surgery(network, KEEP, setting.where)
    surgery.attach()
    capture = AttentionCapture(policy.transformer("old"), (1, 4))
    found: dict[str, Any] = {"rows": rows, "velocity": {}}
    for role in ROLES:
        with capture.collecting() if role == "old" else torch.no_grad():
            found["velocity"][role] = _velocity(policy, role, case, rows)
    found["attention"] = capture.take()
    found["gradient"] = gradients(policy, case, rows)
    with surgery.enabled():
        found["surgery"] = gradients(policy, case, rows)
    found["before"] = {name: value.clone() for name, value in policy.full(policy.old()).items()}
    optimizer = torch.optim.AdamW(policy.trainable().values(), lr=0.01)
    backward(policy, case, rows)
    found["norm"] = float(torch.nn.utils.clip_grad_norm_(policy.trainable().values(), 1.0))
    optimizer.step()
    optimizer.zero_grad()
    policy.update_old(0.75)
    found["now"], found["old"] = policy.full(policy.trainable()), policy.full(policy.old())
    found["after"] = {role: _velocity(policy, role, case, rows) for role in ROLES}
    return found


def backward(policy: Policy, case: Case, rows: list[int]) -> None:
    """Gradients of this process's share of the loss."""
    velocity = policy.velocity("policy", *_inputs(case, rows))
    video, audio = velocity.video.float(), velocity.audio.float()
    one = case.arrays["loss_coef_video"][:1], case.arrays["loss_coef_audio"][:1]
    weights = torch.tensor([1.0 + row for row in rows])[:, None, None]
    loss = (weights * video.square() * one[0]).sum() + (weights * audio.square() * one[1]).sum()
    policy.check_before_backward()
    (loss / ROLLOUTS).backward()


def gradients(policy: Policy, case: Case, rows: list[int]) -> dict[str, Tensor]:
    """Whole gradients by name, on the CPU."""
    backward(policy, case, rows)
    found = policy.full({name: p.grad for name, p in policy.trainable().items() if p.grad is not None})
    for parameter in policy.trainable().values():
        parameter.grad = None
    return found


def _inputs(case: Case, rows: list[int]) -> tuple[Any, ...]:
    """Rollouts of these numbers; each has its own noise, noise level and text."""
    picked = [row % len(case.x) for row in rows]
    noise = case.geometry.noise(rows)
    x = Latents(case.x.video[picked] + 0.1 * noise.video, case.x.audio[picked] + 0.1 * noise.audio)
    return x, torch.tensor([0.9 - 0.2 * row for row in rows]), case.condition[picked]


def _velocity(policy: Policy, role: Any, case: Case, rows: list[int]) -> tuple[Tensor, Tensor]:
    velocity = policy.velocity(role, *_inputs(case, rows))
    return velocity.video.detach().float(), velocity.audio.detach().float()


def facts(policy: Policy) -> dict[str, Any]:
    """How parameters lie on this process."""
    network = policy.transformer("policy")
    locals_ = {name: p.to_local().numel() for name, p in policy.trainable().items()}  # type: ignore[attr-defined]
    return {
        "local": sum(locals_.values()),
        "whole": sum(p.numel() for p in policy.trainable().values()),
        "dtypes": sorted({str(p.dtype) for p in policy.trainable().values()}),
        "unsharded": [name for name, p in network.named_parameters() if not hasattr(p, "device_mesh")],
    }


def work(setting: Setting, rank: int, size: int, folder: Path) -> None:
    """Run and write what was found."""
    policy, case = make(setting)
    shard(policy, make_mesh("cpu", size))
    kept = {"facts": facts(policy)} | run(policy, case, setting, list(range(rank, ROLLOUTS, size)))
    # Tensors of a checkpoint go into a sharded policy, and come out again.
    other = {name: torch.full_like(value, 0.5) for name, value in kept["now"].items()}
    policy.load(other, kept["old"])
    kept["loaded"] = (policy.full(policy.trainable()), policy.full(policy.old()))
    torch.save(kept, folder / f"rank-{rank}.pt")


def join(rank: int, size: int, settings: Path, folder: Path) -> None:
    """One process: meets the others and goes through the settings."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size)
    try:
        for number, fields in enumerate(torch.load(settings)):
            place = folder / str(number)
            place.mkdir(exist_ok=True)
            work(Setting(**fields), rank, size, place)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    # Arguments: number of processes, file of settings, folder. Forked, so that packages are imported once.
    count, listed, place = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    start_processes(join, (count, listed, place), nprocs=count, start_method="fork")
