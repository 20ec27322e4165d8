"""Pretraining of the miniature: flow matching on scenes drawn as it goes, a few minutes on two cores."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from omninft_train.errors import EnvironmentProblem, TrainingStopped, UsageError, near
from omninft_train.files import path_aside, write_atomically
from omninft_train.miniature.backbone import (
    META,
    WEIGHTS,
    MiniatureBackbone,
    Size,
    architecture_digest,
    read_meta,
    weights_digest,
)
from omninft_train.miniature.worlds import WORLDS
from omninft_train.models.latents import Condition, Latents
from omninft_train.models.policy import FullPolicy

_REPORT_EVERY = 50
_LEAST_ROWS = 32  # of a matrix that Muon trains
# Scenes of pretraining are numbered from here on for each seed, apart from those of tests and reports.
_SCENES = 1_000_003


@dataclass(frozen=True)
class PretrainOptions:
    """How the miniature is pretrained.

    Attributes:
        seed: of weights, scenes and noise.
        steps, batch: optimiser steps, and scenes in each.
        lr: highest learning rate of AdamW, after `warmup` steps; falls to 0 along a cosine.
        muon_lr: the same of Muon, which trains the matrices of 32 rows and columns or more.
        weight_decay: of both.
        ema: decay of the running average of the weights that is kept.
        shift: noise levels are uniform, then shifted towards noise by this factor; 1 for not at all.
        drop: fraction of scenes trained with the empty prompt, for guidance.
        size: of the network.
        world: what is generated, by its name in `worlds`.
    """

    seed: int = 0
    steps: int = 1500
    batch: int = 32
    lr: float = 2e-3
    muon_lr: float = 6e-3
    warmup: int = 40
    weight_decay: float = 0.01
    ema: float = 0.99
    shift: float = 2.0
    drop: float = 0.1
    size: Size = field(default_factory=Size)
    world: str = "miniature"

    def __post_init__(self) -> None:
        if self.world not in WORLDS:
            raise UsageError(f"pretraining: unknown world {self.world!r}. {near(self.world, WORLDS)}")
        for name, count in (("steps", self.steps), ("batch", self.batch)):
            if count < 1:
                raise UsageError(f"pretraining: {name} = {count}: must be at least 1.")

    @property
    def digest(self) -> str:
        """Identity of the outcome: options, network and world."""
        options = asdict(self)
        world = options.pop("world")  # the architecture tells worlds apart
        content = {"options": options, "architecture": architecture_digest(self.size, world)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


_SHIPPED: Mapping[str, PretrainOptions] = MappingProxyType(
    {"miniature": PretrainOptions(), "crowd": PretrainOptions(world="crowd", steps=1500, batch=16)}
)


def shipped(world: str) -> PretrainOptions:
    """How a world is pretrained where nothing else is asked for.

    Raises:
        UsageError: no such world.
    """
    if world not in _SHIPPED:
        raise UsageError(f"unknown world {world!r} (--world). {near(world, _SHIPPED)}")
    return _SHIPPED[world]


Report = Callable[[int, float], None]
"""Called with the step and the mean loss since the last call."""


def pretrained(folder: Path, options: PretrainOptions = PretrainOptions(), report: Report | None = None) -> Path:
    """The folder of a pretraining with these options; trained now if it is not there.

    Args:
        folder: holds one folder for each set of options.
        options: see `PretrainOptions`.
        report: called with progress.

    Raises:
        TrainingStopped: the loss is not finite.
        EnvironmentProblem: the folder cannot be written.
    """
    target = folder_of(folder, options)
    if is_complete(target, options):
        return target
    with _writing(target):  # before minutes are spent on what goes there
        target.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    backbone, losses = pretrain(options, report)
    meta: dict[str, Any] = {
        "digest": options.digest,
        "architecture": architecture_digest(options.size, options.world),
        "world": options.world,
        "size": asdict(options.size),
        "options": asdict(options),
        "parameters": sum(p.numel() for p in backbone.transformer.parameters()),
        "final_loss": sum(losses[-_REPORT_EVERY:]) / len(losses[-_REPORT_EVERY:]),
        "seconds": round(time.perf_counter() - start, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    with _writing(target):  # meta.json last: a folder with one is whole
        with path_aside(target / WEIGHTS) as aside:
            save_file({name: value.contiguous() for name, value in backbone.transformer.state_dict().items()}, aside)
        meta["weights_sha256"] = weights_digest(target)
        write_atomically(target / META, (json.dumps(meta, indent=2) + "\n").encode())
    return target


def folder_of(folder: Path, options: PretrainOptions) -> Path:
    """Where a pretraining with these options lies in `folder`."""
    return folder / f"{options.world}-{options.digest}"


def is_complete(folder: Path, options: PretrainOptions) -> bool:
    """Whether a folder holds the finished outcome of these options."""
    try:
        return read_meta(folder)["digest"] == options.digest and (folder / WEIGHTS).is_file()
    except UsageError:
        return False


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EnvironmentProblem(f"{folder}: the pretrained miniature cannot be written ({error}).") from error


def pretrain(options: PretrainOptions, report: Report | None = None) -> tuple[MiniatureBackbone, list[float]]:
    """Train a network from random weights.

    Equal options give equal weights on the same machine with the same number of threads.

    Returns:
        The generator with averaged weights, and the loss of every step.

    Raises:
        TrainingStopped: the loss is not finite.
    """
    backbone = MiniatureBackbone.untrained(options.size, options.seed, world=options.world)
    policy = FullPolicy(backbone.transformer, backbone.geometry)
    parameters: list[Tensor] = list(policy.trainable().values())
    averages = list(policy.old().values())
    optimizers = _optimizers(parameters, options)
    losses: list[float] = []
    # Optimizers, which share no parameter, step side by side: on one core Muon's take two thirds of a step's time.
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(len(optimizers), initializer=torch.set_num_threads, initargs=(threads,)) as aside:
        for step in range(options.steps):
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["highest_lr"] * warmed_fraction(options, step)
            latents, condition = draw_batch(backbone, options, step)
            loss = flow_matching(policy, latents, condition, options, step)
            if not math.isfinite(loss.item()):
                rates = f"lr (now {options.lr}) or muon_lr (now {options.muon_lr})"
                raise TrainingStopped(f"pretraining step {step}: the loss is not finite. Lower {rates}.")
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            list(aside.map(lambda optimizer: optimizer.step(), optimizers))
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            # The running average follows quickly at first, so that it does not keep the random start.
            keep = min(options.ema, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(averages, parameters, 1 - keep)
            losses.append(loss.item())
            if report is not None and (step + 1) % _REPORT_EVERY == 0:
                report(step + 1, sum(losses[-_REPORT_EVERY:]) / _REPORT_EVERY)
    averaged = policy.transformer("old").requires_grad_(True)
    return MiniatureBackbone(averaged, options.digest, world=options.world), losses


def _optimizers(parameters: list[Tensor], options: PretrainOptions) -> list[torch.optim.Optimizer]:
    matrices = [p for p in parameters if p.ndim == 2 and min(p.shape) >= _LEAST_ROWS]
    others = [p for p in parameters if not (p.ndim == 2 and min(p.shape) >= _LEAST_ROWS)]
    decay = options.weight_decay
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=options.lr, betas=(0.9, 0.98), weight_decay=decay, fused=True)
    ]
    for half in (matrices[0::2], matrices[1::2]):
        if half:
            made.append(torch.optim.Muon(half, lr=options.muon_lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    for optimizer in made:
        for group in optimizer.param_groups:
            group["highest_lr"] = group["lr"]
    return made


def warmed_fraction(options: PretrainOptions, step: int) -> float:
    """Fraction of the highest learning rate: linear warm-up, then a cosine to 0."""
    if step < options.warmup:
        return (step + 1) / options.warmup
    fraction = (step - options.warmup) / max(1, options.steps - options.warmup)
    return 0.5 * (1 + math.cos(math.pi * fraction))


def draw_batch(backbone: MiniatureBackbone, options: PretrainOptions, step: int) -> tuple[Latents, Condition]:
    """Latents and conditioning of the scenes of a step."""
    first = options.seed * _SCENES + step * options.batch
    scenes = [backbone.world.draw(first + index) for index in range(options.batch)]
    generator = _generator(options, step, 0)
    dropped = torch.rand(options.batch, generator=generator) < options.drop
    prompts = ["" if drop else scene.prompt.prompt_av for scene, drop in zip(scenes, dropped, strict=True)]
    return backbone.world.codec.encode(backbone.world.render(scenes)), backbone.condition(prompts)


def flow_matching(policy: FullPolicy, x0: Latents, condition: Condition, options: PretrainOptions, step: int) -> Tensor:
    """Mean squared error of the velocity, mean of both streams."""
    video, audio = stream_losses(policy, x0, condition, options, step)
    return (video + audio) / 2


def stream_losses(
    policy: FullPolicy, x0: Latents, condition: Condition, options: PretrainOptions, step: int
) -> tuple[Tensor, Tensor]:
    """Mean squared error of the velocity e - x0 at x_t = (1 - t) x0 + t e, of video and of audio."""
    generator = _generator(options, step, 1)
    even = torch.rand(len(x0), generator=generator)
    t = options.shift * even / (1 + (options.shift - 1) * even)  # (B,)
    noise = x0.map(lambda stream: torch.randn(stream.shape, generator=generator))
    fraction = t[:, None, None]
    x_t = Latents(x0.video.lerp(noise.video, fraction), x0.audio.lerp(noise.audio, fraction))
    v = policy.velocity("policy", x_t, t, condition)
    video = (v.video - (noise.video - x0.video)).square().mean()
    audio = (v.audio - (noise.audio - x0.audio)).square().mean()
    return video, audio


def _generator(options: PretrainOptions, step: int, stream: int) -> torch.Generator:
    return torch.Generator().manual_seed((options.seed * 2 + stream) * 1_000_000 + step)
