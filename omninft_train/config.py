"""Configuration of a training run: nested frozen dataclasses, filled from recipes by `omninft_train.recipe`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from avbench.config import Must, at_least, between
from omninft_train.method.advantages import AdvantageOptions
from omninft_train.method.losses import LossOptions
from omninft_train.method.regions import RegionOptions
from omninft_train.method.surgery import SurgeryRule
from omninft_train.models.ltx2_decoding import Tiling
from omninft_train.models.quantize import Quantization
from omninft_train.rewards.spec import RewardSpec
from omninft_train.training.rollout import CaptureWindow, Guidance
from omninft_train.training.trackers import TrackerName

Preset = Literal["release", "release-exact", "paper"]
Count = Annotated[int, at_least(1)]
NotNegative = Annotated[float, at_least(0)]
Positive = Annotated[float, Must(lambda value: 0 < value < math.inf, "above 0")]
MINIATURES = ("miniature", "crowd")
"""Kinds of backbone that are worlds of `omninft_train.miniature`."""


@dataclass(frozen=True)
class RunSection:
    """Length of a run and what it leaves behind.

    Attributes:
        seed: of everything that is drawn.
        steps: outer steps, one optimiser step each.
        save_every: steps between checkpoints.
        keep_checkpoints: how many stay whole; of older ones the policy stays.
        keep_policies: policies of older checkpoints that stay: "all", or the "best" one by `best_by`.
        best_by: key of the log, such as "reward_sync_mean", where higher is better; or "eval_NAME", of evaluations.
        eval_every: steps between evaluations, which also come first and last; 0 for never. See `EvaluationSection`.
        probe_every: steps between measurements of gradient norms by depth; 0 for never.
        tracker: service that shows the run; None for none.
        clips_every: steps between clips that are kept and shown, with their rewards; 0 for never.
        mirror: "package.module:name" of a function of the run's folder whose result gets every logged step.
        shard: how weights lie on several processes: whole on each ("none"), spread within each node ("node") or over
            all ("all"); None to choose by the GPUs' memory.
    """

    seed: int = 0
    steps: Count = 600
    save_every: Count = 25
    keep_checkpoints: Count = 2
    keep_policies: Literal["all", "best"] = "all"
    best_by: str | None = None
    eval_every: Annotated[int, at_least(0)] = 0
    probe_every: Annotated[int, at_least(0)] = 0
    tracker: TrackerName | None = None
    clips_every: Annotated[int, at_least(0)] = 0
    mirror: str | None = None
    shard: Literal["none", "node", "all"] | None = None


@dataclass(frozen=True)
class BackboneSection:
    """The generator.

    Attributes:
        kind: "ltx2", or a miniature: "miniature" with one shape, "crowd" with three.
        path: folder or hub id of a diffusers LTX-2 pipeline; for the miniature, folder of its pretraining.
        dtype: number format of the frozen weights.
        height, width, frames, fps: of the clips; the miniature has its own.
        gradient_checkpointing: recompute activations in the backward pass.
        tiling: decode in tiles of "space", pieces of "time", or "both"; saves memory, and seams are blended.
        offload: what a phase of a step does not need waits in main memory: decoders while nothing is decoded, the
            generator's network while rewards judge on its device.
        quantize: number format of the frozen linear layers that adapters sit on, by torchao; "none" for `dtype`.
        cache: folder of prompt embeddings.
        negative_prompt: what guidance leads away from; None for the backbone's own.
    """

    kind: Literal["miniature", "crowd", "ltx2"] = "ltx2"
    path: str = ""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    height: Count = 512
    width: Count = 768
    frames: Count = 121
    fps: Positive = 24.0
    gradient_checkpointing: bool = True
    tiling: Tiling = "none"
    offload: bool = False
    quantize: Quantization = "none"
    cache: str = ""
    negative_prompt: str | None = None


@dataclass(frozen=True)
class PolicySection:
    """Which parameters are trained: adapters on a frozen network, or all of them.

    Attributes:
        parameters: "lora" or "full".
        rank, alpha: of the adapters.
        init: LoRA that policy, old policy and reference start from, a file or a folder; empty for none.
    """

    parameters: Literal["lora", "full"] = "lora"
    rank: Count = 32
    alpha: Count = 64
    init: str = ""


@dataclass(frozen=True)
class PromptSection:
    """Where prompts come from and how many rollouts a step has: `groups` prompts, `group_size` rollouts of each."""

    path: str = ""
    groups: Count = 4
    group_size: Count = 8
    class_key: str | None = None
    class_weights: Mapping[str, NotNegative] = field(default_factory=dict)

    @property
    def rollouts(self) -> int:
        """Rollouts of a step, over all processes."""
        return self.groups * self.group_size


@dataclass(frozen=True)
class SamplingSection:
    """How rollouts are sampled.

    Attributes:
        steps: Euler steps; the levels are LTX-2's, anchored at 4,096 tokens.
        batch: rollouts per forward pass.
        guidance: see `Guidance`.
    """

    steps: Count = 20
    batch: Count = 1
    guidance: Guidance = field(default_factory=Guidance)


@dataclass(frozen=True)
class LevelSection:
    """Noise levels that the update trains on: the first, noisiest ones, or a random subset for each rollout."""

    choice: Literal["first", "random"] = "first"
    fraction: float = 0.4


@dataclass(frozen=True)
class SurgerySection:
    """Layer-wise gradient surgery.

    Attributes:
        enabled: whether gradients are scaled at all.
        preset: "release", "paper" or "paper-keep10"; stretched to networks that do not have 48 blocks.
        rules: blocks and fractions instead of those of the preset.
        where: instead of that of the preset.
    """

    enabled: bool = False
    preset: Literal["release", "paper", "paper-keep10"] = "release"
    rules: tuple[SurgeryRule, ...] = ()
    where: Literal["context", "kv"] | None = None


@dataclass(frozen=True)
class RegionSection:
    """Region-wise loss weights.

    Attributes:
        enabled: whether video tokens are weighted.
        first_block: attention is collected from this block on; below 1 from the block that lies there in the
            depth, see `SurgeryRule`.
        window: fraction of the sampling steps, first and last, that are collected.
        passes: "conditional" or "all" (as the release).
        rope: with rotary embedding; the release leaves it out.
        weights: form and size of the weights.
    """

    enabled: bool = False
    first_block: NotNegative = 0.0
    window: tuple[float, float] = (0.5, 0.9)
    passes: Literal["conditional", "all"] = "conditional"
    rope: bool = True
    weights: RegionOptions = field(default_factory=RegionOptions)


@dataclass(frozen=True)
class MarbleSection:
    """Rewards weighed by their gradients (MARBLE).

    Attributes:
        enabled: whether they are; `advantages.mode` has to be "gdpo".
        every: steps from one solution to the next.
        warmup_steps: steps at the start that all solve.
        smoothing: fraction of the former weights that stays at each solution, in [0, 1].
    """

    enabled: bool = False
    every: Count = 10
    warmup_steps: Annotated[int, at_least(0)] = 1
    smoothing: Annotated[float, between(0, 1)] = 0.7


@dataclass(frozen=True)
class ArrSection:
    """Adaptive Reward Routing: tokens, blocks and rewards weighed by what is measured in each step.

    The steps and passes that are measured are those of `regions.window` and `regions.passes`.

    Attributes:
        enabled: whether they are; `advantages.mode` has to be "routed", and surgery and regions off.
        maximum: largest weight of a token, in both branches; 1 for none.
        layers: each block's gradient into the other stream is scaled by how strongly it responds to it.
        tau: larger ones pass less.
        kappa: fraction of the rewards' weights that comes from their gradients; 0 for none.
        smoothing: fraction of the former weights that stays at each solution, in [0, 1].
        warmup_steps: steps before gradients have a say.
        every: steps from one solution to the next.
    """

    enabled: bool = False
    maximum: Annotated[float, at_least(1)] = 1.5
    layers: bool = True
    tau: Positive = 1.0
    kappa: Annotated[float, between(0, 1)] = 0.3
    smoothing: Annotated[float, between(0, 1)] = 0.7
    warmup_steps: Annotated[int, at_least(0)] = 50
    every: Count = 10


_Decay = Annotated[float, Must(lambda value: 0 <= value < 1, "of at least 0 and below 1")]


@dataclass(frozen=True)
class OptimizerSection:
    """AdamW.

    Attributes:
        batch: pairs of rollout and noise level per forward pass; changes no result.
        max_norm: gradients are scaled down to this norm; inf for none.
    """

    lr: Positive = 3e-5
    betas: tuple[_Decay, _Decay] = (0.9, 0.999)
    weight_decay: NotNegative = 1e-4
    eps: Positive = 1e-8
    max_norm: Annotated[float, Must(lambda value: value > 0, "above 0")] = 1.0
    batch: Count = 1


@dataclass(frozen=True)
class RewardSection:
    """Rewards and where they run.

    Attributes:
        reward: the rewards themselves.
        backend: "local", in this process, or "ray", on actors.
        device: where their networks run.
        offload: each network is loaded when a step needs it and dropped afterwards.
        overlap: clips are judged while the next ones are sampled; None where rewards run on other devices than the
            generator.
        weights: "checkpoints", or a test mode of avbench ("keyed-random", "keyed-random-reduced").
        accepted: licences of weights that the user accepts, as `avbench models accept` names them.
        weights_dir: folder that holds checkpoints already.
        precision: of their networks.
        max_failed_fraction: more invalid values than this stop the run.
    """

    reward: tuple[RewardSpec, ...] = ()
    backend: Literal["local", "ray"] = "local"
    device: str = "cpu"
    offload: bool = False
    overlap: bool | None = None
    weights: Literal["checkpoints", "keyed-random", "keyed-random-reduced"] = "checkpoints"
    weights_dir: str | None = None
    accepted: tuple[str, ...] = ()
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    max_failed_fraction: Annotated[float, between(0, 1)] = 0.25


@dataclass(frozen=True)
class EvaluationSection:
    """Evaluations while training: the same prompts and the same noise each time, so that clips form pairs.

    Attributes:
        prompts: JSONL file; empty for those that the miniature keeps aside.
        samples: clips per prompt.
        steps: Euler steps; None for twice those of training.
        seed: of the noise.
        heldout: metrics that are judged and never trained on, as rewards are named.
    """

    prompts: str = ""
    samples: Count = 2
    steps: Count | None = None
    seed: int = 0
    heldout: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    """Everything about a run; stored with every checkpoint."""

    preset: Preset = "release"
    run: RunSection = field(default_factory=RunSection)
    backbone: BackboneSection = field(default_factory=BackboneSection)
    policy: PolicySection = field(default_factory=PolicySection)
    prompts: PromptSection = field(default_factory=PromptSection)
    sampling: SamplingSection = field(default_factory=SamplingSection)
    advantages: AdvantageOptions = field(default_factory=AdvantageOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    levels: LevelSection = field(default_factory=LevelSection)
    surgery: SurgerySection = field(default_factory=SurgerySection)
    regions: RegionSection = field(default_factory=RegionSection)
    marble: MarbleSection = field(default_factory=MarbleSection)
    arr: ArrSection = field(default_factory=ArrSection)
    optimizer: OptimizerSection = field(default_factory=OptimizerSection)
    rewards: RewardSection = field(default_factory=RewardSection)
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)

    @property
    def capture_window(self) -> CaptureWindow:
        """The sampling steps and passes whose attention makes region weights."""
        first, last = (int(fraction * self.sampling.steps) for fraction in self.regions.window)
        return CaptureWindow(first, last, self.regions.passes)
