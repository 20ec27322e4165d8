"""What a run consists of, and what one step of it hands from part to part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from omninft_train.config import Config
from omninft_train.models.backbone import Backbone
from omninft_train.models.hooks import AttentionCapture, Surgery
from omninft_train.models.latents import Condition, Latents
from omninft_train.models.policy import Policy
from omninft_train.models.responses import BothWays, ResponseCapture, Responses
from omninft_train.prompts import TrainPrompt
from omninft_train.rewards.overlap import Overlap
from omninft_train.rewards.spec import Rewards
from omninft_train.training.distributed import World
from omninft_train.training.weighting import FixedWeights, make_weighting


@dataclass
class Training:
    """All objects of a training run.

    Attributes:
        surgery, capture: hooks on the policy's and on the old policy's network; None where switched off.
        levels: noise levels of sampling, (steps + 1,), from 1 to 0.
        responses: hooks that measure how strongly each stream responds to the other; None where switched off.
        weighting: how rewards weigh, and what that depends on from step to step.
        evaluated: prompts of evaluations while training; empty where there are none.
        overlap: judges clips while the next ones are sampled; None where rewards wait for all of a step.
    """

    config: Config
    backbone: Backbone
    policy: Policy
    rewards: Rewards
    prompts: list[TrainPrompt]
    out: Path
    world: World
    surgery: Surgery | BothWays | None
    capture: AttentionCapture | None
    levels: Tensor
    optimizer: torch.optim.AdamW
    responses: ResponseCapture | None = None
    evaluated: list[TrainPrompt] = field(default_factory=list)
    overlap: Overlap | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    weighting: FixedWeights = field(init=False)

    def __post_init__(self) -> None:
        self.weighting = make_weighting(self.config)


@dataclass(frozen=True)
class Rollouts:
    """Rollouts of one step that this process sampled.

    Attributes:
        index: their indices among all rollouts of the step.
        latents: clean, in model units; zeros where the sampler came to something that is not finite.
        finite: (B,) bool, False for those: they have no reward, and nothing is learned from them.
        condition: of their prompts, without guidance.
        region_scores: attention that each video token got from all audio tokens, (B, Lv), or None.
        responses: how strongly each stream responded to the other, or None.
    """

    index: list[int]
    prompts: list[TrainPrompt]
    latents: Latents
    finite: Tensor
    condition: Condition
    region_scores: Tensor | None
    responses: Responses | None = None


@dataclass(frozen=True)
class Judged:
    """Training targets of the update: optimality r in [0, 1] per branch, whether it counts, and token weights.

    `kl`: with the pull to the reference, where the run has it.
    """

    video: Tensor  # (B,)
    audio: Tensor  # (B,)
    video_valid: Tensor  # (B,)
    audio_valid: Tensor  # (B,)
    token_weights: Tensor | None  # (B, Lv)
    audio_weights: Tensor | None = None  # (B, La)
    kl: bool = True
