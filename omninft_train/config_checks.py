"""Checks of a configuration whose values are right one by one: whether they go together."""

from __future__ import annotations

import math

from omninft_train.config import Config
from omninft_train.errors import SettingError, UsageError
from omninft_train.method.surgery import check_rule


def check(config: Config, world: int = 1) -> None:
    """Make sure that the values of a configuration go together.

    Args:
        config: of a run.
        world: number of processes.

    Raises:
        SettingError: with the keys, and the equation where there is one.
    """
    _check_numbers(config)
    _check_loss(config)
    _check_policy(config)
    _check_methods(config)
    _check_rewards(config)
    _check_sizes(config, world)
    for number, rule in enumerate(config.surgery.rules):
        try:
            check_rule(rule)
        except UsageError as error:
            raise SettingError(str(error), ("surgery", "rules", number)) from error


def _check_numbers(config: Config) -> None:
    """Those of the method, whose modules know no configuration files."""
    loss, regions = config.loss, config.regions.weights
    above = {
        "loss.beta": loss.beta,
        "loss.advantage_clip": loss.advantage_clip,
        "advantages.eps": config.advantages.eps,
    }
    for name, number in above.items():
        if not 0 < number < math.inf:
            raise SettingError(f"{name} = {number:g}: must be above 0 and finite.", name)
    at_least = {
        "loss.kl_coef": (loss.kl_coef, 0),
        "loss.video_weight": (loss.video_weight, 0),
        "loss.audio_weight": (loss.audio_weight, 0),
        "regions.weights.maximum": (regions.maximum, 1),
        "regions.weights.warmup_steps": (regions.warmup_steps, 0),
    }
    for name, (number, least) in at_least.items():
        if not least <= number < math.inf:
            raise SettingError(f"{name} = {number:g}: must be at least {least} and finite.", name)


def _check_loss(config: Config) -> None:
    if config.loss.video_weight + config.loss.audio_weight == 0:
        raise SettingError(
            "loss.video_weight and loss.audio_weight are 0: neither branch would be trained.",
            "loss.video_weight", "loss.audio_weight",
        )  # fmt: skip


def _check_policy(config: Config) -> None:
    if config.policy.init and config.policy.parameters == "full":
        raise SettingError(
            "policy.init with policy.parameters = 'full': a LoRA is started from with 'lora' alone. To train all, "
            "merge it into the base (omninft-train export --format merged) and name that in backbone.path.",
            "policy.init",
            "policy.parameters",
        )
    if config.backbone.quantize != "none" and (config.policy.parameters, config.backbone.kind) != ("lora", "ltx2"):
        raise SettingError(
            f"backbone.quantize = '{config.backbone.quantize}': for adapters on LTX-2 only (backbone.kind 'ltx2', "
            "policy.parameters 'lora'); what is trained cannot be kept in 8 bits.",
            "backbone.quantize",
            "policy.parameters",
            "backbone.kind",
        )
    if (config.policy.parameters, config.backbone.kind) == ("full", "ltx2") and config.backbone.dtype != "float32":
        raise SettingError(
            f"policy.parameters = 'full' with backbone.dtype = '{config.backbone.dtype}': steps of optimizer.lr "
            f"{config.optimizer.lr:g} are lost in its rounding, and most weights would never change. Set "
            "backbone.dtype = \"float32\", which takes twice the memory, or train adapters ('lora'), which have it.",
            "policy.parameters",
            "backbone.dtype",
        )


def _check_methods(config: Config) -> None:
    if not (config.marble.enabled or config.arr.enabled):
        return
    for number, spec in enumerate(config.rewards.reward):
        if spec.weight < 0:
            raise SettingError(
                f"reward '{spec.scorer}': weight = {spec.weight:g}: MARBLE and Adaptive Reward Routing find weights of "
                "their own, from 0 up, and would raise what is to shrink. Give it scale = -1 and a weight above 0.",
                ("rewards", "reward", number, "weight"),
            )
    if config.advantages.per != "reward":
        raise SettingError(
            f"advantages.per = '{config.advantages.per}': MARBLE and Adaptive Reward Routing weigh rewards that are "
            "normalised one by one, which is 'reward'.",
            "advantages.per",
            "marble.enabled",
            "arr.enabled",
        )
    if config.marble.enabled and config.advantages.mode != "gdpo":
        raise SettingError(
            f"marble.enabled with advantages.mode = '{config.advantages.mode}': MARBLE weighs rewards that are "
            "normalised one by one and go to both branches, which is 'gdpo'.",
            "advantages.mode",
            "marble.enabled",
        )
    if config.arr.enabled:
        _check_arr(config)


def _check_arr(config: Config) -> None:
    if config.advantages.mode != "routed":
        raise SettingError(
            f"arr.enabled with advantages.mode = '{config.advantages.mode}': Adaptive Reward Routing weighs the "
            "rewards of each branch, which needs 'routed'.",
            "advantages.mode",
            "arr.enabled",
        )
    others = {"surgery.enabled": config.surgery.enabled, "regions.enabled": config.regions.enabled}
    for key, value in others.items():
        if value:
            raise SettingError(
                f"arr.enabled with {key}: Adaptive Reward Routing has its own way. Switch one of them off.",
                "arr.enabled",
                key,
            )


def _check_sizes(config: Config, world: int) -> None:
    prompts, sampling = config.prompts, config.sampling
    if prompts.group_size == 1:
        raise SettingError(
            "prompts.group_size = 1: a group of one has no advantage; at least 2 are needed.", "prompts.group_size"
        )
    if prompts.class_weights and not any(prompts.class_weights.values()):
        raise SettingError("prompts.class_weights: all are 0.", "prompts.class_weights")
    if prompts.rollouts % world:
        raise SettingError(
            f"prompts.groups {prompts.groups} x prompts.group_size {prompts.group_size} = {prompts.rollouts} rollouts "
            f"is not divisible by {world} processes. Change one of the three.",
            "prompts.groups",
            "prompts.group_size",
        )
    if not 0 < config.levels.fraction <= 1 or int(config.levels.fraction * sampling.steps) < 1:
        raise SettingError(
            f"levels.fraction {config.levels.fraction} x sampling.steps {sampling.steps} = "
            f"{config.levels.fraction * sampling.steps:g}: no noise level to train on; at least 1 is needed.",
            "levels.fraction",
            "sampling.steps",
        )
    first, last = config.regions.window
    if not (0 <= first <= last <= 1 and first < 1):
        raise SettingError(
            f"regions.window = [{first}, {last}]: needs 0 <= first <= last <= 1, and first below 1.", "regions.window"
        )


def _check_rewards(config: Config) -> None:
    if config.rewards.offload and config.rewards.backend == "ray":
        raise SettingError(
            "rewards.offload with rewards.backend = 'ray': actors keep their networks, and take no memory of this "
            "process. Leave rewards.offload out.",
            "rewards.offload",
            "rewards.backend",
        )
    if config.rewards.offload and config.rewards.overlap:
        raise SettingError(
            "rewards.offload with rewards.overlap: each network is loaded once for all clips of a step, so it cannot "
            "judge before all are sampled. Leave one of them out.",
            "rewards.offload",
            "rewards.overlap",
        )
