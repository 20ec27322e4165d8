"""How rewards and the generator share devices: one waits in main memory for the other, or both work at once."""

from __future__ import annotations

from functools import partial

import torch

from omninft_train.config import Config
from omninft_train.errors import SettingError
from omninft_train.models.offload import moved
from omninft_train.models.policy import Policy
from omninft_train.rewards.local import GROUP
from omninft_train.rewards.spec import Rewards


def make_room(rewards: Rewards, config: Config, policy: Policy) -> None:
    """With `backbone.offload`, let a policy's networks leave their device while rewards judge there.

    Spread weights stay: a part of them is small.
    """
    networks = policy.networks()
    parameter = next(networks[0].parameters())
    if config.backbone.offload and shares_device(config, parameter.device) and not hasattr(parameter, "device_mesh"):
        rewards.room = partial(moved, networks, "cpu", parameter.device)


def overlaps(config: Config, device: torch.device) -> bool:
    """Whether clips are judged while the next ones are sampled.

    On one `device`, the generator's, both would take turns and hold their memory at once; that has to be asked for.

    Raises:
        SettingError: asked for, and the generator is to leave its device while rewards judge there.
    """
    wanted, here = config.rewards.overlap, shares_device(config, device)
    if wanted and here and config.backbone.offload:
        raise SettingError(
            "rewards.overlap with backbone.offload: the generator would have to leave its GPU for rewards while it "
            "samples. Leave one of them out, or give rewards another device (rewards.device).",
            "rewards.overlap",
            "backbone.offload",
        )
    if wanted is not None:
        return wanted
    elsewhere = config.rewards.backend == "ray" or torch.device(config.rewards.device).type != device.type
    return (elsewhere or (device.type != "cpu" and not here)) and not config.rewards.offload


def judged_together(config: Config, world: int) -> int:
    """Clips that a reward's networks see at once: at most half of a process's, so that others are sampled meanwhile.

    It does not depend on whether they are, so that numbers do not either.
    """
    return max(1, min(GROUP, config.prompts.rollouts // world // 2))


def shares_device(config: Config, device: torch.device) -> bool:
    """Whether rewards run on a GPU that a network is on."""
    there = torch.device(config.rewards.device)
    same = there.type == device.type and there.index in (None, device.index)
    return config.rewards.backend == "local" and device.type != "cpu" and same
