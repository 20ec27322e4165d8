"""The three networks of MTCNN, with the entries of `pnet.pt`, `rnet.pt` and `onet.pt`. Imports torch.

Source: Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", arXiv
1604.02878; checkpoints of timesler/facenet-pytorch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avbench.encoders.base import LoadContext
from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
from avbench.weights.locate import files

ROW = "mtcnn"


def largest_value(size: int, stride: int) -> nn.MaxPool2d:
    """Largest value in each window; the last one may reach beyond the edge."""
    return nn.MaxPool2d(size, stride, ceil_mode=True)


class Proposals(nn.Module):
    """Finds places that may hold a face, on an image of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = largest_value(2, 2)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of a face (B, h, w) and corrections of its box (B, 4, h, w) of images (B, 3, H, W)."""
        hidden = self.pool1(self.prelu1(self.conv1(images)))
        hidden = self.prelu3(self.conv3(self.prelu2(self.conv2(hidden))))
        return self.conv4_1(hidden).softmax(dim=1)[:, 1], self.conv4_2(hidden)


class Refinement(nn.Module):
    """Judges and corrects proposals of 24 x 24 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.pool1 = largest_value(3, 2)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.pool2 = largest_value(3, 2)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of a face (B,) and corrections of its box (B, 4) of images (B, 3, 24, 24)."""
        hidden = self.pool1(self.prelu1(self.conv1(images)))
        hidden = self.pool2(self.prelu2(self.conv2(hidden)))
        hidden = self.prelu4(self.dense4(_flat(self.prelu3(self.conv3(hidden)))))
        return self.dense5_1(hidden).softmax(dim=1)[:, 1], self.dense5_2(hidden)


class Outcome(nn.Module):
    """Judges and corrects what is left, at 48 x 48 pixels, and finds five points of the face."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.pool1 = largest_value(3, 2)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.pool2 = largest_value(3, 2)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.pool3 = largest_value(2, 2)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of a face (B,) and corrections of its box (B, 4) of images (B, 3, 48, 48)."""
        hidden = self.pool1(self.prelu1(self.conv1(images)))
        hidden = self.pool2(self.prelu2(self.conv2(hidden)))
        hidden = self.pool3(self.prelu3(self.conv3(hidden)))
        hidden = self.prelu5(self.dense5(_flat(self.prelu4(self.conv4(hidden)))))
        # The points (dense6_3) are of no use to any metric here.
        return self.dense6_1(hidden).softmax(dim=1)[:, 1], self.dense6_2(hidden)


def _flat(maps: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, W H C): the weights came from a framework with the axes in that order."""
    return maps.permute(0, 3, 2, 1).flatten(1)


@dataclass(frozen=True)
class Cascade:
    """The three networks."""

    proposals: Proposals
    refinement: Refinement
    outcome: Outcome


def load(context: LoadContext) -> Cascade:
    """The networks with their weights, on their device. They are small, so that none is reduced."""
    cascade = Cascade(Proposals(), Refinement(), Outcome())
    paths = {} if context.setup.is_test else files(ROW, context.setup)
    for name, network in (("pnet", cascade.proposals), ("rnet", cascade.refinement), ("onet", cascade.outcome)):
        if context.setup.is_test:
            fill_keyed_random(network, he=True)
        else:
            path = paths[f"{name}.pt"]
            load_strict(network, read_state_dict(path), path)
        # Channels last: torch convolves and pools such small maps in two thirds of the time on a CPU.
        to_device(network, context).to(memory_format=torch.channels_last)
    return cascade
