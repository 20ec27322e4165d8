"""Sampling of rollouts: Euler steps on clean estimates, with guidance, and attention collected where it is wanted."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from omninft_train.errors import SettingError, UsageError
from omninft_train.models.latents import Condition, Latents

if TYPE_CHECKING:
    from omninft_train.models.hooks import AttentionCapture
    from omninft_train.models.policy import Policy, Role
    from omninft_train.models.responses import ResponseCapture

Pass = Literal["conditional", "negative", "stg"]
NOISE = 2
"""Version of `clip_seed`. Of version 1, clips had the noise of a training's first step."""
_NO_STEP = -1


@dataclass(frozen=True)
class Guidance:
    """Guidance while rollouts are sampled; 1.0, 1.0 and 0.0 leave one forward pass per step.

    Attributes:
        video, audio: scale away from the negative prompt, 1.0 for none.
        stg: scale away from a network whose self-attention is switched off in `stg_blocks`, 0.0 for none.
        stg_blocks: 29 for LTX-2.0, 28 for LTX-2.3.

    Raises:
        UsageError: a scale is not finite.

    Source: defaults as the release of OmniNFT samples (its configuration file says 1.0 and is not read).
    """

    video: float = 1.5
    audio: float = 3.0
    stg: float = 1.0
    stg_blocks: tuple[int, ...] = (29,)

    def __post_init__(self) -> None:
        scales = (self.video, self.audio, self.stg)
        if not all(map(math.isfinite, scales)):
            raise UsageError(f"guidance of video, audio and stg = {', '.join(map(str, scales))}: must be finite.")

    @property
    def passes(self) -> tuple[Pass, ...]:
        """Forward passes that a step needs."""
        passes: list[Pass] = ["conditional"]
        if self.video != 1 or self.audio != 1:
            passes.append("negative")
        if self.stg != 0:
            passes.append("stg")
        return tuple(passes)


@dataclass(frozen=True)
class CaptureWindow:
    """Steps and passes whose attention is collected.

    Attributes:
        first, last: numbers of the first and of the last step, both included, from 0.
        passes: the conditional pass, or all that the guidance needs.
    """

    first: int
    last: int
    passes: Literal["conditional", "all"] = "conditional"

    def wants(self, step: int, name: Pass) -> bool:
        """Whether this pass of this step is collected."""
        return self.first <= step <= self.last and (self.passes == "all" or name == "conditional")


@dataclass(frozen=True)
class _Call:
    condition: Condition
    skip_blocks: tuple[int, ...] = ()


def rollout_seed(seed: int, step: int, group: int, member: int) -> int:
    """Seed of one rollout's noise: the first 63 bits of BLAKE2b of the four numbers.

    It depends on nothing else, above all not on the process, so a run does not change with their number. Torch's CPU
    generator keeps the lower 32 bits: among the 288 draws of a step of 32 rollouts, two are equal once in 1e5 steps.
    """
    text = f"{seed}/{step}/{group}/{member}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def clip_seed(seed: int, prompt: int, sample: int) -> int:
    """Seed of the noise of a clip outside of training; no rollout of a training with the same seed has it."""
    return rollout_seed(seed, _NO_STEP, prompt, sample)


@torch.no_grad()
def sample(
    policy: Policy,
    role: Role,
    noise: Latents,
    levels: Tensor,
    condition: Condition,
    *,
    negative: Condition | None = None,
    guidance: Guidance = Guidance(),
    capture: AttentionCapture | ResponseCapture | None = None,
    window: CaptureWindow | None = None,
) -> Latents:
    """Sample a batch of rollouts.

    Args:
        noise: (B, L, D), standard normal.
        levels: noise levels (n + 1,), falling from 1 to 0.
        condition: of the prompts, (B, S, D).
        negative: of the negative prompt, (1, S, D) or (B, S, D); needed if the guidance asks for it.
        capture: used in the window only.
        window: None for all steps, conditional pass.

    Returns:
        Clean latents in model units, float32 (B, L, D).

    Raises:
        UsageError: the guidance needs a negative prompt or blocks that are not given.
    """
    calls = _calls(guidance, condition, negative, len(noise))
    steps = _steps(levels)
    window = window or CaptureWindow(0, len(steps) - 1)
    x = noise.map(torch.Tensor.float)
    for step, (now, then) in enumerate(steps):
        t = torch.full((len(x),), now, device=x.video.device)  # (B,)
        clean: dict[Pass, Latents] = {}
        for name, call in calls.items():
            collected = capture is not None and window.wants(step, name)
            with capture.collecting() if capture is not None and collected else nullcontext():
                velocity = policy.velocity(role, x, t, call.condition, skip_blocks=call.skip_blocks)
            clean[name] = Latents(x.video - now * velocity.video.float(), x.audio - now * velocity.audio.float())
        x0 = guide(clean, guidance)
        ratio = then / now
        x = Latents(x0.video + ratio * (x.video - x0.video), x0.audio + ratio * (x.audio - x0.audio))
    return x


def guide(clean: Mapping[Pass, Latents], guidance: Guidance) -> Latents:
    """One clean estimate from those of the passes.

    x = x_c + (s - 1) (x_c - x_negative) + g (x_c - x_stg), with s of each stream and one g.

    Args:
        clean: clean estimate of every pass in `guidance.passes`, (B, L, D).
    """
    base = clean["conditional"]
    video, audio = base.video, base.audio
    if "negative" in guidance.passes:
        away = clean["negative"]
        video = video + (guidance.video - 1) * (base.video - away.video)
        audio = audio + (guidance.audio - 1) * (base.audio - away.audio)
    if "stg" in guidance.passes:
        away = clean["stg"]
        video = video + guidance.stg * (base.video - away.video)
        audio = audio + guidance.stg * (base.audio - away.audio)
    return Latents(video, audio)


def _calls(guidance: Guidance, condition: Condition, negative: Condition | None, batch: int) -> dict[Pass, _Call]:
    calls: dict[Pass, _Call] = {"conditional": _Call(condition)}
    if "negative" in guidance.passes:
        if negative is None:
            raise SettingError(
                f"guidance video {guidance.video}, audio {guidance.audio} needs the conditioning of a negative prompt; "
                "give one, or set both to 1.",
                "sampling.guidance.video",
                "sampling.guidance.audio",
            )
        calls["negative"] = _Call(_expanded(negative, batch))
    if "stg" in guidance.passes:
        if not guidance.stg_blocks:
            raise SettingError(
                f"guidance stg {guidance.stg} without stg_blocks: name blocks, [29] for LTX-2.0, or set stg to 0.",
                "sampling.guidance.stg",
            )
        calls["stg"] = _Call(condition, guidance.stg_blocks)
    return calls


def _expanded(condition: Condition, batch: int) -> Condition:
    if len(condition) == batch:
        return condition
    mask = None if condition.mask is None else condition.mask.expand(batch, -1)
    return Condition(condition.video.expand(batch, -1, -1), condition.audio.expand(batch, -1, -1), mask)


def _steps(levels: Tensor) -> list[tuple[float, float]]:
    steps = list(pairwise(levels.tolist()))
    if not steps or any(now <= then for now, then in steps) or steps[-1][1] < 0:
        raise ValueError(f"noise levels have to fall from 1 to 0: {levels.tolist()}")
    return steps
