"""Outer steps of the method written from its formulas alone, to compare the trainer with; nothing of it is called.

Double precision, one rollout set as one batch, no accumulation, no processes. What is convention rather than formula
(how a seed follows from the run's, the step and the rollout) is repeated here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from reference_network import Streams, Text, Weights, attention_read, surgery, velocities, without_self_attention
from torch import Tensor, nn


@dataclass(frozen=True)
class Method:
    """Constants of the method; reward columns have a weight and a route each."""

    seed: int
    groups: int
    group_size: int
    sampling_steps: int
    level_count: int
    guidance: tuple[float, float, float, tuple[int, ...]]  # video, audio, STG, its blocks
    reward_weights: tuple[float, ...]
    routes: tuple[str, ...]
    std_of_group: bool
    beta: float
    largest_advantage: float
    kl: float
    kl_of_velocities: bool
    in_velocities: bool
    weight_gradient: bool
    branch_weights: tuple[float, float]
    sum_of_branches: bool
    keep: tuple[float, ...]
    where: str
    region_form: str
    region_maximum: float
    region_warmup: int
    region_blocks: tuple[int, ...]
    region_steps: tuple[int, int]
    region_passes: tuple[str, ...]
    region_rope: bool
    lr: float
    betas: tuple[float, float]
    eps: float
    decay: float
    max_norm: float
    first_levels: bool = False

    @property
    def rollouts(self) -> int:
        """Of a step."""
        return self.groups * self.group_size


@dataclass(frozen=True)
class World:
    """What the method is applied to.

    Attributes:
        network: without adapters, in double precision.
        weights: all its weights in a role, from the role's own tensors.
        text: of the prompts of a step.
        rewards: (step, latents) -> (rollouts, rewards) float64, NaN for a failure.
    """

    network: nn.Module
    sizes: Mapping[str, Any]
    frames: int
    shapes: tuple[tuple[int, int], tuple[int, int]]
    weights: Callable[[Weights], Weights]
    text: Callable[[int], Text]
    negative: Text
    rewards: Callable[[int, Streams], Tensor]


@dataclass
class State:
    """Tensors of the roles by name, and Adam's two moments."""

    policy: dict[str, Tensor]
    old: dict[str, Tensor]
    reference: dict[str, Tensor]
    first: dict[str, Tensor] = field(default_factory=dict)
    second: dict[str, Tensor] = field(default_factory=dict)


def noise_levels(steps: int) -> list[float]:
    """From 1 to 0.1, then 0: shifted by exp(2.05), the anchor of 4,096 tokens, then stretched."""
    even = [1 - i / steps for i in range(steps)]
    shifted = [math.exp(2.05) / (math.exp(2.05) + 1 / s - 1) for s in even]
    return [1 - (1 - s) * 0.9 / (1 - shifted[-1]) for s in shifted] + [0.0]


def seed_of(*numbers: int) -> int:
    """63 bits that follow from (seed, step, group, member)."""
    digest = hashlib.blake2b("/".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") // 2


def noise(world: World, seeds: Sequence[int]) -> Streams:
    """Standard normal, video first."""
    drawn: tuple[list[Tensor], list[Tensor]] = ([], [])
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for stream, shape in zip(drawn, world.shapes, strict=True):
            stream.append(torch.randn(shape, generator=generator).double())
    return torch.stack(drawn[0]), torch.stack(drawn[1])


@torch.no_grad()
def rollouts(
    method: Method, world: World, weights: Weights, start: Streams, text: Text, levels: Sequence[float]
) -> tuple[Streams, Tensor]:
    """Clean latents by Euler steps, and the attention that video tokens get, (B, Lv)."""
    scale, stg_blocks = method.guidance[:3], method.guidance[3]
    count = len(start[0])
    negative = world.negative.rows([0] * count)
    found: list[Tensor] = []
    x = start
    for step in range(len(levels) - 1):
        t = torch.full((count,), levels[step], dtype=torch.float64)
        velocity: dict[str, Streams] = {}
        for name in ("conditional", "negative", "stg"):
            read = method.region_steps[0] <= step <= method.region_steps[1] and name in method.region_passes
            reading = attention_read(world.network, method.region_blocks, method.region_rope, found)
            with reading:
                kept = len(found)
                with without_self_attention(world.network, stg_blocks if name == "stg" else ()):
                    words = negative if name == "negative" else text
                    velocity[name] = velocities(world.network, weights, world.sizes, x, t, words)
                if not read:
                    del found[kept:]
        moved = []
        for stream in (0, 1):
            c, n, s = (x[stream] - levels[step] * velocity[name][stream] for name in ("conditional", "negative", "stg"))
            clean = c + (scale[stream] - 1) * (c - n) + scale[2] * (c - s)
            noisy = (x[stream] - clean) / levels[step]  # the noise that was not removed yet
            moved.append(clean + levels[step + 1] * noisy)
        x = (moved[0], moved[1])
    return x, torch.stack(found).mean(dim=0) if found else torch.zeros(0)


def branch_targets(method: Method, rewards: Tensor, branch: str) -> tuple[Tensor, Tensor]:
    """r (N,) of a branch, and which rollouts count."""
    columns = [
        k for k, route in enumerate(method.routes) if route in (branch, "both") and method.reward_weights[k] != 0
    ]
    total = torch.zeros(len(rewards), dtype=torch.float64)
    for k in columns:
        good = [i for i in range(len(rewards)) if math.isfinite(rewards[i, k])]
        for group in range(method.groups):
            members = [i for i in good if i // method.group_size == group]
            values = rewards[members, k]
            spread = values if method.std_of_group else rewards[good, k]
            std = ((spread - spread.mean()) ** 2).mean().sqrt()
            total[members] += method.reward_weights[k] * (values - values.mean()) / (std + 1e-4)
    most = method.largest_advantage
    valid = torch.isfinite(rewards[:, columns]).all(dim=1)
    return ((total / most + 1) / 2).clamp(0, 1), valid


def token_weights(method: Method, world: World, scores: Tensor, step: int) -> Tensor:
    """omega (B, Lv)."""
    grown = min(step / method.region_warmup, 1) if method.region_warmup else 1
    most = 1 + (method.region_maximum - 1) * grown
    if method.region_form == "minmax":
        low, high = scores.min(dim=1, keepdim=True)[0], scores.max(dim=1, keepdim=True)[0]
        return 1 + (most - 1) * (scores - low) / (high - low)
    frames = scores.reshape(len(scores), world.frames, -1)
    centred = frames - frames.mean(dim=2, keepdim=True)
    z = centred / (centred.square().sum(dim=2, keepdim=True) / (frames.shape[2] - 1)).sqrt()
    return (1 + (most - 1) / (1 + torch.exp(-(most - 1) * z))).reshape(scores.shape)


def branch_loss(
    method: Method, v: tuple[Tensor, Tensor], x_t: Tensor, x0: Tensor, t: Tensor, r: Tensor, omega: Tensor
) -> Tensor:
    """(B,) for velocities of policy and old policy."""
    now, old, target = v[0], v[1], (x_t - x0) / t
    if not method.in_velocities:
        now, old, target = x_t - t * v[0], x_t - t * v[1], x0
    beta = method.beta
    tokens = torch.zeros_like(omega)
    for share, x in ((r, beta * now + (1 - beta) * old), (1 - r, (1 + beta) * old - beta * now)):
        w = (x - target).abs().mean(dim=(1, 2))
        w = (w if method.weight_gradient else w.detach()).clamp(min=1e-5)
        tokens = tokens + (share / w)[:, None] * ((x - target) ** 2).mean(dim=2)
    return (omega * tokens).sum(dim=1) / omega.sum(dim=1) * method.largest_advantage / beta


def loss(method: Method, world: World, state: State, step: int) -> Tensor:
    """The mean over all rollouts and their noise levels."""
    levels, count = noise_levels(method.sampling_steps), method.rollouts
    text, old = world.text(step), world.weights(state.old)
    members = [divmod(i, method.group_size) for i in range(count)]
    start = noise(world, [seed_of(method.seed, step, *member) for member in members])
    x0, scores = rollouts(method, world, old, start, text, levels)
    rewards = world.rewards(step, x0)
    judged = [branch_targets(method, rewards, branch) for branch in ("video", "audio")]
    omega = (token_weights(method, world, scores, step), torch.ones(x0[1].shape[:2], dtype=torch.float64))

    generator = torch.Generator().manual_seed(seed_of(method.seed, step, -1, -1))
    pairs = [
        (row, level)
        for row in range(count)
        for level in (
            range(method.level_count)
            if method.first_levels
            else torch.randperm(method.sampling_steps, generator=generator)[: method.level_count].tolist()
        )
    ]
    rows = [row for row, _ in pairs]
    flat_t = torch.tensor([levels[level] for _, level in pairs], dtype=torch.float64)
    t = flat_t[:, None, None]
    e = noise(world, [seed_of(method.seed, step, row, 1_000_000 + level) for row, level in pairs])
    x_t = ((1 - t) * x0[0][rows] + t * e[0], (1 - t) * x0[1][rows] + t * e[1])

    def call(weights: Weights) -> Streams:
        return velocities(world.network, weights, world.sizes, x_t, flat_t, text.rows(rows))

    with torch.no_grad():
        v_old, v_reference = call(old), call(world.weights(state.reference))
    with surgery(world.network, method.keep, method.where) if method.where else nullcontext():
        v = call(world.weights(state.policy))
    total = torch.zeros(len(pairs), dtype=torch.float64)
    for stream, weight in enumerate(method.branch_weights):
        r, valid = (part[rows] for part in judged[stream])
        branch = branch_loss(
            method, (v[stream], v_old[stream]), x_t[stream], x0[stream][rows], t, r, omega[stream][rows]
        )
        apart = ((v[stream] - v_reference[stream]) ** 2).mean(dim=(1, 2))
        if not method.kl_of_velocities:
            apart = apart * flat_t**2
        total = total + weight * (torch.where(valid, branch, 0) + method.kl * apart)
    return total.mean() / (1 if method.sum_of_branches else sum(method.branch_weights))


def outer_step(method: Method, world: World, state: State, step: int) -> None:
    """Sample, judge, one AdamW step with clipped gradients, old policy."""
    names = list(state.policy)
    leaves = {name: state.policy[name].detach().requires_grad_() for name in names}
    state.policy = leaves
    gradients = torch.autograd.grad(loss(method, world, state, step), list(leaves.values()), allow_unused=True)
    known = {n: g for n, g in zip(names, gradients, strict=True) if g is not None}
    norm = math.sqrt(sum(float((g**2).sum()) for g in known.values()))
    shrink = min(1, method.max_norm / (norm + 1e-6))
    n, (b1, b2) = step + 1, method.betas
    eta = min(n / 1000, 0.5)
    for name in names:
        p = leaves[name].detach()
        if name in known:
            g = shrink * known[name]
            state.first[name] = b1 * state.first.get(name, torch.zeros_like(g)) + (1 - b1) * g
            state.second[name] = b2 * state.second.get(name, torch.zeros_like(g)) + (1 - b2) * g**2
            m, s = state.first[name] / (1 - b1**n), state.second[name] / (1 - b2**n)
            p = p - method.lr * method.decay * p - method.lr * m / (s.sqrt() + method.eps)
        state.policy[name] = p
        state.old[name] = eta * state.old[name] + (1 - eta) * p
