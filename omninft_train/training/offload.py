"""Room for rewards: the generator's network waits in main memory while they judge on its device."""

from __future__ import annotations

from functools import partial

import torch

from omninft_train.config import Config
from omninft_train.models.offload import moved
from omninft_train.models.policy import Policy
from omninft_train.rewards.local import Rewards


def make_room(rewards: Rewards, config: Config, policy: Policy) -> None:
    """With `backbone.offload`, let a policy's networks leave their device while rewards judge there.

    Spread weights stay: a part of them is small.
    """
    networks = policy.networks()
    parameter = next(networks[0].parameters())
    if config.backbone.offload and shares_device(config, parameter.device) and not hasattr(parameter, "device_mesh"):
        rewards.room = partial(moved, networks, "cpu", parameter.device)


def shares_device(config: Config, device: torch.device) -> bool:
    """Whether rewards run on a GPU that a network is on."""
    there = torch.device(config.rewards.device)
    same = there.type == device.type and there.index in (None, device.index)
    return config.rewards.backend == "local" and device.type != "cpu" and same
