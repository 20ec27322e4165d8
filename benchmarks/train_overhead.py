"""Step time of the full method over that of vanilla, and the share of sampling that capturing attention takes.

    python benchmarks/train_overhead.py OUT.json [--rounds 3] [--sizes miniature mid]

"miniature": its own size, all parameters, 64 rollouts. "mid": a random LTX-2 transformer of 6 blocks, 512 and 256 wide,
256 video and 64 audio tokens, adapters of rank 32, guidance as the release samples (three passes).

One thread, and seconds of processor time: what another process does meanwhile hardly counts. Wall time is kept beside.
Steps of both recipes alternate, and so do forward passes with and without capture: whole samplings scatter by more than
what capturing costs. Its share is the median excess of such a pass, times the share of passes that are collected.
"switch": seconds to put another adapter in force on a transformer of true size without memory for weights,
here and by peft's own methods, which also walk through the network and change gradients.

Medians over rounds, by default as many as `ROUNDS` says: small steps scatter more. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import LTX2VideoTransformer3DModel
from run import machine

from omninft_train.config import Config
from omninft_train.method.schedule import ltx2_levels
from omninft_train.miniature.backbone import MiniatureBackbone
from omninft_train.miniature.world import training_prompts
from omninft_train.models.backbone import Decoded
from omninft_train.models.latents import Condition, Geometry, Latents
from omninft_train.models.policy import LoraPolicy
from omninft_train.recipe import load
from omninft_train.rewards.local import make_rewards
from omninft_train.training import experience, targets
from omninft_train.training.assemble import make_capture, make_optimizer, make_policy, make_surgery
from omninft_train.training.distributed import World
from omninft_train.training.state import Training
from omninft_train.training.update import update

MID = Geometry(frames=4, height=8, width=8, audio_frames=64, video_channels=128, audio_channels=128, fps=24.0)
TARGETS = {"full_over_vanilla": 1.03, "capture_share_of_sampling": 0.01}
ROUNDS = {"miniature": 25, "mid": 3}
CHANGES: dict[str, tuple[str, ...]] = {
    "miniature": (),
    "mid": (
        "policy.parameters=lora",
        "prompts.groups=2",
        "prompts.group_size=2",
        "sampling.steps=6",
        "sampling.batch=4",
        "sampling.guidance={video = 1.5, audio = 3.0, stg = 1.0, stg_blocks = [3]}",
        "levels.fraction=0.2",
        "optimizer.batch=4",
    ),
}


class MidBackbone:
    """A random transformer of middle size; its clips are noise of constant size."""

    kind, digest, geometry = "miniature", "mid", MID

    def __init__(self) -> None:
        torch.manual_seed(0)
        make: Any = LTX2VideoTransformer3DModel
        self.transformer = make(
            num_attention_heads=8,
            attention_head_dim=64,
            cross_attention_dim=512,
            audio_num_attention_heads=8,
            audio_attention_head_dim=32,
            audio_cross_attention_dim=256,
            num_layers=6,
            caption_channels=256,
            rope_type="split",
        ).eval()

    def condition(self, prompts: Sequence[str]) -> Condition:
        words = torch.randn(len(prompts), 64, 256, generator=torch.Generator().manual_seed(1))
        return Condition(words, words)

    def negative(self) -> Condition:
        return self.condition([""])

    def decode(self, latents: Latents) -> list[Decoded]:
        random = np.random.default_rng(0)
        frames = random.integers(0, 256, (len(latents), 16, 32, 32, 3), np.uint8)
        sound = random.standard_normal((len(latents), 1, 12_800)).astype(np.float32) / 4
        return [Decoded(picture, 10.0, wave, 8000) for picture, wave in zip(frames, sound, strict=True)]


def make(size: str, recipe: str, out: Path) -> Training:
    """A run of a size, from random weights."""
    changes = ("backbone.path=unused", "regions.weights.warmup_steps=0", *CHANGES[size])
    config: Config = load(recipe, "miniature", changes)
    backbone = MiniatureBackbone.untrained() if size == "miniature" else MidBackbone()
    policy = make_policy(config, backbone)
    return Training(
        config=config,
        backbone=backbone,
        policy=policy,
        rewards=make_rewards(config.rewards),
        prompts=training_prompts(),
        out=out,
        world=World(),
        surgery=make_surgery(config, policy),
        capture=make_capture(config, policy),
        levels=ltx2_levels(config.sampling.steps),
        optimizer=make_optimizer(config, policy),
    )


def one_step(training: Training, step: int) -> tuple[float, float]:
    """Seconds of a whole step: of the processor, and by the clock."""
    start, wall = time.process_time(), time.perf_counter()
    rollouts = experience.sample_rollouts(training, step)
    scored = experience.score_rollouts(training, rollouts, step)
    _, judged = targets.judge(training, rollouts, scored, step)
    update(training, rollouts, judged, step)
    training.policy.update_old(0.5)
    return time.process_time() - start, time.perf_counter() - wall


def capture_ratios(training: Training, pairs: int) -> list[float]:
    """Seconds of a forward pass whose attention is collected over one whose is not, pair by pair; they alternate."""
    config, geometry, capture = training.config, training.backbone.geometry, training.capture
    assert capture is not None
    batch = config.sampling.batch
    noise = geometry.noise(range(batch))
    condition = training.backbone.condition([prompt.prompt_av for prompt in training.prompts[:batch]])
    level = torch.full((batch,), 0.5)
    ratios = []
    for pair in range(pairs):
        seconds = {}
        for on in (True, False) if pair % 2 else (False, True):
            start = time.process_time()
            with torch.no_grad(), capture.collecting() if on else nullcontext():
                training.policy.velocity("old", noise, level, condition)
            seconds[on] = time.process_time() - start
        capture.take()
        ratios.append(seconds[True] / seconds[False])
    return ratios


def collected_passes(config: Config) -> float:
    """Share of the forward passes of sampling whose attention is collected."""
    steps, passes = config.sampling.steps, config.sampling.guidance.passes
    window = config.capture_window
    wanted = [window.wants(step, name) for step in range(steps) for name in passes]
    return sum(wanted) / len(wanted)


def measure(size: str, rounds: int) -> dict[str, Any]:
    """Both ratios at one size."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {recipe: make(size, recipe, Path(folder) / recipe) for recipe in ("vanilla", "omninft")}
        for training in runs.values():
            one_step(training, 0)
            experience.sample_rollouts(training, 0)
        seconds: dict[str, list[tuple[float, float]]] = {recipe: [] for recipe in runs}
        for step in range(1, rounds + 1):
            order = list(runs) if step % 2 else list(runs)[::-1]
            for recipe in order:
                seconds[recipe].append(one_step(runs[recipe], step))
        pairs = list(zip(seconds["omninft"], seconds["vanilla"], strict=True))
        ratios, walls = ([full[kind] / plain[kind] for full, plain in pairs] for kind in (0, 1))
        collected = collected_passes(runs["omninft"].config)
        passes = capture_ratios(runs["omninft"], rounds * 10)
        return {
            "step_seconds": {recipe: statistics.median(cpu for cpu, _ in rows) for recipe, rows in seconds.items()},
            "full_over_vanilla": statistics.median(ratios),
            "full_over_vanilla_wall": statistics.median(walls),
            "ratios": ratios,
            "capture_share_of_sampling": collected * (statistics.median(passes) - 1),
            "collected_passes": collected,
            "capture_ratios": passes,
        }


def measure_switch(rounds: int = 20) -> dict[str, float]:
    """Median seconds of a switch from the policy to the old policy and back, divided by two."""
    with torch.device("meta"):
        make: Any = LTX2VideoTransformer3DModel
        policy = LoraPolicy(make(rope_type="split"), MID)
    network: Any = policy.transformer("policy")

    def of_policy() -> None:
        with policy._in_role("old"):  # what `velocity` does around a pass
            pass

    def of_peft() -> None:
        network.set_adapter("old")
        network.set_adapter("policy")

    return {name: _median_seconds(switch, rounds) / 2 for name, switch in (("of_policy", of_policy), ("peft", of_peft))}


def _median_seconds(call: Callable[[], None], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, help="of all sizes")
    parser.add_argument("--sizes", nargs="+", default=list(CHANGES), choices=list(CHANGES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    metadata = {
        "machine": machine(("torch", "diffusers", "peft")),
        "threads": torch.get_num_threads(),
        "targets": TARGETS,
    }
    sizes = {size: measure(size, options.rounds or ROUNDS[size]) for size in options.sizes}
    text = json.dumps(metadata | {"sizes": sizes, "switch": measure_switch()}, indent=1)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit(any(size[name] > target for size in sizes.values() for name, target in TARGETS.items()))


if __name__ == "__main__":
    main()
