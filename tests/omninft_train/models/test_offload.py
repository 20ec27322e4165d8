"""What waits in main memory while others need the GPU; networks that note where they were sent stand for real ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from omninft_train.config import BackboneSection, Config, RewardSection
from omninft_train.models.ltx2_decoding import Decoders
from omninft_train.models.offload import moved
from omninft_train.rewards.spec import Rewards, RewardSpec
from omninft_train.training.device_sharing import make_room

GPU = torch.device("cuda:1")


@dataclass
class Network:
    """Notes where it is sent."""

    places: list[str] = field(default_factory=list)

    def to(self, device: Any) -> None:
        self.places.append(str(device))

    def parameters(self) -> Any:
        yield SimpleNamespace(device=GPU)


def test_networks_go_back_also_after_a_failure() -> None:
    networks: Any = [Network(), Network()]
    with pytest.raises(ZeroDivisionError), moved(networks, "cpu", GPU):
        assert [network.places for network in networks] == [["cpu"], ["cpu"]]
        raise ZeroDivisionError
    assert [network.places for network in networks] == [["cpu", "cuda:1"]] * 2


@pytest.mark.parametrize("offload", [False, True])
def test_decoders_come_to_the_device_to_decode(offload: bool) -> None:
    networks = [Network() for _ in range(3)]
    decoders = Decoders(*networks, offload=offload)
    with decoders.at(GPU):
        assert [network.places for network in networks] == [["cuda:1"] if offload else []] * 3
    assert [network.places for network in networks] == [["cuda:1", "cpu"] if offload else []] * 3


class Judge:
    """A backend that notes where the generator was."""

    def __init__(self, network: Network) -> None:
        self.network, self.seen = network, [""]

    def judge(self, clips: Any, prompts: Any, keys: Any) -> list[list[float | str]]:
        self.seen = list(self.network.places)
        return [[1.0]]

    def close(self) -> None:
        """Holds nothing."""


@pytest.mark.parametrize(
    ("offload", "changes", "leaves"),
    [
        (True, {"device": "cuda"}, True),
        (True, {"device": "cuda:1"}, True),
        (True, {"device": "cuda:0"}, False),
        (True, {"device": "cpu"}, False),
        (True, {"device": "cuda", "backend": "ray"}, False),
        (False, {"device": "cuda"}, False),
    ],
)
def test_the_generator_leaves_while_rewards_judge_on_its_device(
    offload: bool, changes: dict[str, Any], leaves: bool
) -> None:
    network = Network()
    policy: Any = SimpleNamespace(networks=lambda: [network])
    judge = Judge(network)
    rewards = Rewards((RewardSpec("any:one", 1.0, "both"),), judge, 0.0)
    config = Config(backbone=BackboneSection(offload=offload), rewards=replace(RewardSection(), **changes))
    make_room(rewards, config, policy)
    clip: Any = None
    rewards.score([clip], [clip], ["0"])
    assert judge.seen == (["cpu"] if leaves else [])
    assert network.places == (["cpu", "cuda:1"] if leaves else [])
