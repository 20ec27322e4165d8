"""FaceMesh, with the weights of MediaPipe's `face_landmark.tflite`. Imports torch.

Source: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", arXiv 1907.06724; the
graph in that file.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avbench.encoders.base import LoadContext
from avbench.encoders.loading import fill_keyed_random, load_strict, to_device
from avbench.encoders.networks.facemesh.tflite import float_constants
from avbench.errors import EnvironmentProblem
from avbench.weights.locate import files

ROW = "face_mesh"
SIDE = 192
POINTS = 468
_WIDTHS = (16, 16, 32, 32, 32, 64, 64, 64, 128, 128, 128)


class Block(nn.Module):
    """A depthwise and a pointwise convolution beside what came in; halves the sides where `stride` is 2."""

    def __init__(self, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, padding=2 - stride, groups=channels)
        self.pointwise = nn.Conv2d(channels, out, 1)
        self.prelu = nn.PReLU(out)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, C, H, W) -> (B, out, H / stride, W / stride)."""
        if self.depthwise.padding == (1, 1):
            moved, kept = self.depthwise(maps), maps
        else:
            moved, kept = self.depthwise(_padded(maps)), F.max_pool2d(maps, 2)
        moved = self.pointwise(moved)
        missing = moved.shape[1] - kept.shape[1]
        result: Tensor = self.prelu(moved + F.pad(kept, (0, 0, 0, 0, 0, missing)))
        return result


class Reduction(nn.Module):
    """128 channels -> 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.prelu = nn.Conv2d(128, 32, 1), nn.PReLU(32)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, 128, H, W) -> (B, 32, H, W)."""
        result: Tensor = self.prelu(self.conv(maps))
        return result


class FaceMesh(nn.Module):
    """Points of a face, and whether there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.prelu = nn.Conv2d(3, 16, 3, 2), nn.PReLU(16)
        pairs = zip((16, *_WIDTHS), _WIDTHS, strict=False)
        wider = [Block(before, after, 1 if before == after else 2) for before, after in pairs]
        self.trunk = nn.Sequential(*wider, Block(128, 128, 2), Block(128, 128), Block(128, 128))
        self.points = nn.Sequential(
            Block(128, 128, 2), Block(128, 128), Block(128, 128), Reduction(), Block(32, 32),
            nn.Conv2d(32, 3 * POINTS, 3),
        )  # fmt: skip
        self.flag = nn.Sequential(Block(128, 128, 2), Reduction(), Block(32, 32), nn.Conv2d(32, 1, 3))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, 468, 3) in pixels and the logit of a face (B,) of images (B, 3, 192, 192) in 0..1."""
        maps = self.trunk(self.prelu(self.stem(_padded(images))))
        return self.points(maps).reshape(-1, POINTS, 3), self.flag(maps).flatten()


def _padded(maps: Tensor) -> Tensor:
    """One row below and one column on the right: where a stride of 2 begins in the framework of the weights."""
    return F.pad(maps, (0, 1, 0, 1))


def file_order(network: FaceMesh) -> list[str]:
    """Names of the entries in the order of the file: up to where points and flag part as here, then layer by layer."""
    names = list(network.state_dict())
    points = [name for name in names if name.startswith("points.")]
    ahead = [name for name in points if name.startswith(("points.0.", "points.1."))]
    flag = [name for name in names if name.startswith("flag.")]
    shared = [name for name in names if name not in (*points, *flag)] + ahead
    layers = zip(_layers(flag), _layers(points[len(ahead) :]), strict=True)
    return shared + [name for pair in layers for layer in pair for name in layer]


def _layers(names: list[str]) -> list[list[str]]:
    return [list(group) for _, group in groupby(names, key=lambda name: name.rpartition(".")[0])]


def _as_here(name: str, values: Tensor) -> Tensor:
    """A constant of the file in torch's order of axes."""
    if values.ndim < 4:
        return values.flatten()
    return values.permute(3, 0, 1, 2) if ".depthwise." in name else values.permute(0, 3, 1, 2)


def load(context: LoadContext) -> FaceMesh:
    """The network with its weights, on its device. It is small, so that it is never reduced.

    Raises:
        EnvironmentProblem: the file does not fit.
    """
    network = FaceMesh()
    if context.setup.is_test:
        fill_keyed_random(network, he=True)
    else:
        path = files(ROW, context.setup)["face_landmark.tflite"]
        names, constants = file_order(network), float_constants(path)
        if len(names) != len(constants):
            raise EnvironmentProblem(f"{path} has {len(constants)} constants, expected {len(names)}")
        pairs = zip(names, constants, strict=True)
        state = {name: _as_here(name, torch.from_numpy(values)).contiguous() for name, values in pairs}
        load_strict(network, state, path)
    to_device(network, context)
    return network
