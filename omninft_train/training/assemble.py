"""Build everything that the training loop needs from a configuration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from omninft_train.config import MINIATURES, Config
from omninft_train.config_checks import check
from omninft_train.errors import SettingError, UsageError
from omninft_train.method.schedule import ltx2_levels
from omninft_train.method.surgery import PRESETS, block_at, keep_by_block, preset_keep
from omninft_train.models.adapter_files import start_of
from omninft_train.models.backbone import Backbone
from omninft_train.models.hooks import AttentionCapture, Surgery
from omninft_train.models.lora import adapter_shapes
from omninft_train.models.policy import FullPolicy, LoraPolicy, Policy, Role
from omninft_train.models.responses import BothWays, ResponseCapture
from omninft_train.prompts import TrainPrompt, draw, load_prompts
from omninft_train.rewards.held_out import held_out_specs
from omninft_train.rewards.local import make_rewards
from omninft_train.rewards.overlap import Overlap
from omninft_train.training.agreement import agree, check_conditions, check_same_start
from omninft_train.training.best import check_best
from omninft_train.training.device_sharing import judged_together, make_room, overlaps
from omninft_train.training.distributed import TIMEOUT, World
from omninft_train.training.layout import Layout, choose_layout
from omninft_train.training.state import Training

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger(__name__)


def assemble(config: Config, out: Path, world: World) -> Training:
    """Load the generator, make policies, hooks, rewards and the optimiser.

    Raises:
        UsageError: sizes that do not fit, prompts or rewards that are not there, or processes that do not agree.
        EnvironmentProblem: weights or packages are missing.
    """
    check(config, world.size)
    check_best(config)
    agree(config, out, world)
    layout = choose_layout(config, world)
    _announce(config, layout, world)
    overlapping = overlaps(config, torch.device(world.device))
    prompts = load_training_prompts(config)
    group = judged_together(config, world.size)
    rewards = make_rewards(config.rewards, group)
    _check_held_out(config)
    evaluated = load_evaluation_prompts(config)
    needed = list(dict.fromkeys([*_drawn(config, prompts), *(prompt.prompt_av for prompt in evaluated)]))
    backbone, policy = load_networks(config, needed, layout, world)
    make_room(rewards, config, policy)
    return Training(
        config=config,
        backbone=backbone,
        policy=policy,
        rewards=rewards,
        prompts=prompts,
        evaluated=evaluated,
        out=out,
        world=world,
        surgery=make_surgery(config, policy),
        capture=make_capture(config, policy),
        responses=ResponseCapture(policy.transformer("old")) if config.arr.enabled else None,
        levels=ltx2_levels(config.sampling.steps),
        optimizer=make_optimizer(config, policy),
        overlap=Overlap(rewards, group) if overlapping else None,
    )


def _drawn(config: Config, prompts: list[TrainPrompt]) -> list[str]:
    """Texts that the run's steps will draw; of 20,000 prompts a run may see a tenth."""
    steps = range(config.run.steps)
    drawn = (prompt for step in steps for prompt in draw(prompts, config.run.seed, step, config.prompts))
    return list(dict.fromkeys(prompt.prompt_av for prompt in drawn))


def _announce(config: Config, layout: Layout, world: World) -> None:
    """Log how the weights are laid out, and what memory that takes."""
    if not world.is_main:
        return
    if world.size > 1:
        _LOG.info("%s", layout)
    if config.backbone.kind == "ltx2" and config.backbone.path:
        from omninft_train.training.memory import estimate

        _LOG.info("%s", estimate(config, world.size, layout.shards).table())


def load_networks(config: Config, prompts: Sequence[str], layout: Layout, world: World) -> tuple[Backbone, Policy]:
    """The generator, ready for some prompts, and its policy with pretrained weights; all processes call this together.

    Each process encodes a part of the prompts for all. Weights are read once per node.

    Raises:
        UsageError: it is not there, the LoRA to start from does not fit, or processes do not agree.
    """
    shared, quantize = world.size > 1, config.backbone.quantize
    backbone = load_backbone(config, world.device, prompts[world.rank :: world.size], empty=shared)
    check_conditions(backbone, prompts, world)
    if shared and quantize != "none":  # before adapters, which keep their format
        from omninft_train.models.quantize import load_quantized

        load_quantized(backbone.transformer, quantize, _weights(config), world.device, world.node_size, TIMEOUT)
    policy = make_policy(config, backbone)
    check_same_start(policy, world)
    if shared and quantize == "none":
        from omninft_train.models.loading import load_policy
        from omninft_train.models.shard import make_mesh, shard

        if layout.shards > 1:
            shard(policy, make_mesh(world.device.partition(":")[0], layout.shards, TIMEOUT))
        load_policy(policy, _weights(config), world.device, world.node_size, TIMEOUT)
    return backbone, policy


def load_backbone(config: Config, device: str, prompts: Sequence[str] = (), *, empty: bool = False) -> Backbone:
    """The generator that a configuration names, ready for some prompts.

    Args:
        prompts: encoded now.
        empty: its transformer has no memory yet, for `load_policy` or `load_quantized` to fill.

    Raises:
        UsageError: it is not there, or has no block that guidance is to skip.
        EnvironmentProblem: weights or packages are missing.
    """
    backbone = _load(config, device, prompts, empty)
    blocks = depth(backbone.transformer)
    for block in config.sampling.guidance.stg_blocks:
        if not 0 <= block < blocks:
            raise SettingError(
                f"sampling.guidance.stg_blocks: {block}, but the network has blocks 0 to {blocks - 1}.",
                "sampling.guidance.stg_blocks",
            )
    return backbone


def _load(config: Config, device: str, prompts: Sequence[str], empty: bool) -> Backbone:
    section = config.backbone
    if section.kind in MINIATURES:
        from omninft_train.miniature.backbone import MiniatureBackbone

        if not section.path:
            raise SettingError(
                "backbone.path is empty: give the folder of a pretrained miniature. 'omninft-train pretrain' makes it.",
                "backbone.path",
            )
        miniature = MiniatureBackbone.load(Path(section.path), device, empty=empty)
        if miniature.kind != section.kind:
            raise SettingError(
                f"{section.path}: pretrained in the world '{miniature.kind}', and the backbone is '{section.kind}'. "
                "Name the other one (--backbone).",
                "backbone.path",
            )
        return miniature
    from omninft_train.models.ltx2 import Ltx2Backbone

    if not section.path:
        raise SettingError(
            "backbone.path is empty: give the folder or hub id of a diffusers LTX-2 pipeline.", "backbone.path"
        )
    return Ltx2Backbone.load(section, device, prompts=prompts, empty=empty)


def _weights(config: Config) -> Path:
    """File of the transformer's pretrained weights, or the folder that they are in."""
    if config.backbone.kind in MINIATURES:
        from omninft_train.miniature.backbone import WEIGHTS

        return Path(config.backbone.path) / WEIGHTS
    from omninft_train.models.ltx2 import locate

    return locate(config.backbone.path) / "transformer"


def load_training_prompts(config: Config) -> list[TrainPrompt]:
    """The prompts of a run; the miniature world makes its own where no file is named."""
    if config.prompts.path:
        return _read_prompts(config.prompts.path, "prompts.path")
    if config.backbone.kind in MINIATURES:
        from omninft_train.miniature.worlds import WORLDS

        return WORLDS[config.backbone.kind].training_prompts()
    raise SettingError(
        "prompts.path is empty: give a JSONL file with prompt_av, prompt_v and prompt_a on each line.", "prompts.path"
    )


def _read_prompts(path: str, key: str) -> list[TrainPrompt]:
    try:
        return load_prompts(Path(path))
    except UsageError as error:
        raise SettingError(f"{key}: {error}", key) from error


def load_evaluation_prompts(config: Config) -> list[TrainPrompt]:
    """The prompts that a run is evaluated on while it trains; none where it is not. Raises as `prompts_aside`."""
    return prompts_aside(config) if config.run.eval_every else []


def prompts_aside(config: Config) -> list[TrainPrompt]:
    """Prompts that are not trained on: those that a run names, else those that the miniature keeps.

    Raises:
        UsageError: none are named, and the backbone keeps none aside.
    """
    if config.evaluation.prompts:
        return _read_prompts(config.evaluation.prompts, "evaluation.prompts")
    if config.backbone.kind not in MINIATURES:
        raise SettingError(
            "evaluation.prompts is empty: give a JSONL file of prompts that the run is not trained on; "
            "'omninft-train evaluate' takes one as --prompts.",
            "evaluation.prompts", "run.eval_every",
        )  # fmt: skip
    from omninft_train.miniature.worlds import WORLDS

    return WORLDS[config.backbone.kind].evaluation_prompts()


def _check_held_out(config: Config) -> None:
    """Open the held-out metrics of a run once: what is missing is said before anything is trained."""
    extra = held_out_specs(config.rewards.reward, config.evaluation.heldout, config.backbone.kind)
    if config.run.eval_every and extra:
        try:
            make_rewards(replace(config.rewards, reward=extra, backend="local")).close()
        except SettingError as error:
            raise SettingError(str(error), "evaluation.heldout") from error


def make_policy(config: Config, backbone: Backbone) -> Policy:
    """Policy, old policy and reference, equal to each other.

    Raises:
        UsageError: the LoRA to start from does not fit.
    """
    section, transformer, start = config.policy, backbone.transformer, None
    if config.backbone.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()  # type: ignore[operator]
    if section.parameters == "full":
        return FullPolicy(transformer, backbone.geometry)
    if section.init:
        shapes = adapter_shapes(transformer, section.rank)
        start = start_of(Path(section.init).expanduser(), shapes, section.alpha, backbone.digest)
    policy = LoraPolicy(
        transformer,
        backbone.geometry,
        rank=section.rank,
        alpha=section.alpha,
        seed=config.run.seed,
        start=None if start is None else start.tensors,
    )
    policy.start = "" if start is None else start.digest
    return policy


def make_optimizer(config: Config, policy: Policy) -> torch.optim.AdamW:
    """AdamW over what the policy trains; made after sharding, which replaces parameters."""
    section = config.optimizer
    return torch.optim.AdamW(
        list(policy.trainable().values()),
        lr=section.lr,
        betas=section.betas,
        weight_decay=section.weight_decay,
        eps=section.eps,
    )


def make_surgery(config: Config, policy: Policy) -> Surgery | BothWays | None:
    """Hooks that scale gradients in the policy's network; None when switched off."""
    section = config.surgery
    if config.arr.enabled and config.arr.layers:
        return BothWays(policy.transformer("policy"))
    if not section.enabled:
        return None
    preset, transformer = PRESETS[section.preset], policy.transformer("policy")
    blocks = depth(transformer)
    keep = keep_by_block(section.rules, blocks) if section.rules else preset_keep(preset, blocks)
    surgery = Surgery(transformer, keep, section.where or preset.where)
    surgery.attach()
    return surgery


def make_capture(config: Config, policy: Policy, role: Role = "old") -> AttentionCapture | None:
    """Hooks that collect attention from the network that samples; None when switched off."""
    section = config.regions
    if not section.enabled:
        return None
    transformer = policy.transformer(role)
    blocks = depth(transformer)
    first = block_at(section.first_block, blocks) if section.first_block < 1 else int(section.first_block)
    if first >= blocks:
        raise SettingError(
            f"regions.first_block {section.first_block:g}: the network has {blocks} blocks.", "regions.first_block"
        )
    return AttentionCapture(transformer, tuple(range(first, blocks)), rope=section.rope)


def depth(transformer: nn.Module) -> int:
    """Number of blocks."""
    return len(transformer.transformer_blocks)  # type: ignore[arg-type]
