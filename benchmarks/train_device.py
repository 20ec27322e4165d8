"""A transformer of LTX-2's true size on a GPU: seconds and peak memory, beside what the trainer estimates.

    python benchmarks/train_device.py OUT.json          # needs a GPU of 80 GB; nothing is downloaded
    python benchmarks/train_device.py OUT.json --tiny   # two small blocks on the CPU: whether this script works

Weights are drawn by the names of their tensors. Measured are making the network, a pass without gradients, and an
optimiser step of the full method (surgery, region weights, pull to the reference) on 4 rollouts at one noise level
each, in batches of 1 and of 4. VAEs, rewards and the text encoder are not loaded, nor counted in the estimates.

Exit code 1 without a GPU, and where a peak exceeds its estimate by more than the tenth that the trainer leaves free.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from run import machine

from omninft_train.config import Config
from omninft_train.method.schedule import ltx2_levels
from omninft_train.models.latents import Condition, Geometry
from omninft_train.models.ltx2 import clip_geometry, describe
from omninft_train.models.ltx2_prompts import PROMPT_TOKENS
from omninft_train.prompts import TrainPrompt
from omninft_train.recipe import load
from omninft_train.training.assemble import make_capture, make_optimizer, make_policy, make_surgery
from omninft_train.training.distributed import World
from omninft_train.training.memory import estimate
from omninft_train.training.state import Judged, Rollouts, Training
from omninft_train.training.update import update

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from tiny_pipeline import save_full_size_configs, save_tiny_pipeline

COUNT = 4  # rollouts, of one prompt
BATCHES = (1, COUNT)
SPARE = 1.1
SETTINGS = (
    "prompts.groups=1",
    f"prompts.group_size={COUNT}",
    "levels.fraction=0.05",
    "regions.weights.warmup_steps=0",
    "rewards.backend=ray",  # not opened: rewards that take nothing here
)
TINY = ("backbone.dtype=float32", "backbone.height=64", "backbone.width=96", "backbone.frames=9", "policy.rank=4")


class DrawnBackbone:
    """A transformer with weights drawn by name, and noise for text."""

    kind, digest = "ltx2", "drawn"

    def __init__(self, folder: Path, config: Config, device: str) -> None:
        parts = describe(folder)
        self.geometry: Geometry = clip_geometry(parts, config.backbone)
        dtype = getattr(torch, config.backbone.dtype)
        self.transformer = parts["transformer"].to(dtype).to_empty(device=device).eval()
        for name, parameter in self.transformer.named_parameters():
            parameter.data = drawn(name, parameter)

    def condition(self, prompts: list[str]) -> Condition:
        network = self.transformer.config
        widths = [network.caption_channels] * 2
        if not network.use_prompt_embeddings:
            widths = [network.cross_attention_dim, network.audio_cross_attention_dim]
        like = next(self.transformer.parameters())
        return Condition(*(like.new_empty(len(prompts), PROMPT_TOKENS, width).normal_() for width in widths))


def drawn(name: str, like: torch.Tensor) -> torch.Tensor:
    """Normal values of a size at which a block neither dies nor explodes, by name and device alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 2**63
    values = torch.empty_like(like).normal_(generator=torch.Generator(like.device).manual_seed(seed))
    return values / like.shape[1] ** 0.5 if like.ndim > 1 else 0.1 * values


def make(folder: Path, config: Config, device: str) -> Training:
    """A run without rewards and decoders."""
    backbone: Any = DrawnBackbone(folder, config, device)
    policy = make_policy(config, backbone)
    return Training(
        config=config,
        backbone=backbone,
        policy=policy,
        rewards=None,  # type: ignore[arg-type]
        prompts=[],
        out=folder,
        world=World(device=device),
        surgery=make_surgery(config, policy),
        capture=make_capture(config, policy),
        levels=ltx2_levels(config.sampling.steps),
        optimizer=make_optimizer(config, policy),
    )


def experience(training: Training) -> tuple[Rollouts, Judged]:
    """Noise as rollouts, half of them good."""
    device, geometry = training.world.device, training.backbone.geometry
    prompt, every = TrainPrompt("", "", ""), torch.ones(COUNT, dtype=torch.bool)
    rollouts = Rollouts(
        list(range(COUNT)),
        [prompt] * COUNT,
        geometry.noise(range(COUNT), device),
        every,
        training.backbone.condition([""] * COUNT),
        None,
    )
    r = torch.arange(COUNT) % 2.0
    return rollouts, Judged(r, r, every, every, torch.ones(COUNT, geometry.video_tokens, device=device))


def measured(device: str, call: Callable[[], Any]) -> tuple[Any, float, int | None]:
    """Result, seconds, and peak bytes of the GPU, None on the CPU."""
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    result = call()
    if on_gpu:
        torch.cuda.synchronize()
    return result, time.perf_counter() - start, torch.cuda.max_memory_allocated() if on_gpu else None


def measure(folder: Path, config: Config, device: str) -> list[dict[str, Any]]:
    """Rows of name, seconds, peak and estimate."""
    known = estimate(config)
    training, seconds, peak = measured(device, lambda: make(folder, config, device))
    rows = [row("load", seconds, peak, known.load - known.decoders)]
    rollouts, judged = experience(training)
    for batch in BATCHES:
        few = replace(config, sampling=replace(config.sampling, batch=batch))
        few = replace(few, optimizer=replace(config.optimizer, batch=batch))
        training.config, known = few, estimate(few)
        parts = (rollouts.latents[:batch], torch.full((batch,), 0.9, device=device), rollouts.condition[:batch])
        with torch.no_grad():
            _, seconds, peak = measured(device, lambda parts=parts: training.policy.velocity("old", *parts))
        rows.append(row(f"pass without gradients, batch {batch}", seconds, peak, known.sample - known.decoders))
        update(training, rollouts, judged, 0)  # pays for first calls, and makes Adam's moments
        log, seconds, peak = measured(device, lambda: update(training, rollouts, judged, 1))
        rows.append(row(f"optimiser step, batch {batch}", seconds, peak, known.update - known.decoders))
        rows[-1]["gradient_norm"] = log["gradient_norm"]
    return rows


def row(name: str, seconds: float, peak: int | None, wanted: int) -> dict[str, Any]:
    """What was measured, beside its estimate; bytes."""
    return {"name": name, "seconds": seconds, "peak": peak, "estimate": wanted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="a tiny network on the CPU")
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        sys.exit(
            "train_device.py: torch finds no GPU, and LTX-2's true size needs one of 80 GB; --tiny runs on the CPU"
        )
    device = "cpu" if options.tiny else "cuda"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pipeline"
        (save_tiny_pipeline if options.tiny else save_full_size_configs)(folder)
        config = load("omninft", "ltx2", [f'backbone.path="{folder}"', *SETTINGS, *(TINY if options.tiny else ())])
        rows = measure(folder, config, device)
    names = ("torch", "diffusers", "peft")
    gpu = None if options.tiny else torch.cuda.get_device_name()
    content = {"machine": machine(names), "gpu": gpu, "tiny": options.tiny, "rows": rows}
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for one in rows:
        peak = "not measured on a CPU" if one["peak"] is None else f"{one['peak'] / 1e9:.2f} GB"
        print(f"{one['name']}: {one['seconds']:.2f} s, peak {peak}, estimated {one['estimate'] / 1e9:.2f} GB")
    sys.exit(any(one["peak"] is not None and one["peak"] > SPARE * one["estimate"] for one in rows))


if __name__ == "__main__":
    main()
