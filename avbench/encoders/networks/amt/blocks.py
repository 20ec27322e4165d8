"""The parts of AMT-S: two encoders of images, decoders of flow from coarse to fine, and updates of flow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avbench.encoders.networks.amt.correlation import sample
from avbench.encoders.pixels import positions


def resized(images: Tensor, factor: float) -> Tensor:
    """Images (B, C, h, w) scaled bilinearly."""
    if factor == 1:
        return images
    return F.interpolate(images, scale_factor=factor, mode="bilinear", align_corners=False)


def resized_flow(flow: Tensor, factor: float) -> Tensor:
    """Flow (B, C, h, w) of the scaled image: its vectors become as much longer as the image larger."""
    return factor * resized(flow, factor)


def warped(images: Tensor, flow: Tensor) -> Tensor:
    """Images (B, C, h, w) seen where flow (B, 2, h, w) points; the border goes on outside."""
    return sample(images, (positions(flow) + flow).permute(0, 2, 3, 1), padding="border")


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3 x 3, then a PReLU with a slope for each channel."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))


class Bottleneck(nn.Module):
    """Residual block of RAFT's small encoder: 1 x 1, 3 x 3, 1 x 1, each normalised over its image."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        narrow = outputs // 4
        self.conv1 = nn.Conv2d(inputs, narrow, 1)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, stride, 1)
        self.conv3 = nn.Conv2d(narrow, outputs, 1)
        self.downsample = None if stride == 1 else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""
        y = x
        for layer in (self.conv1, self.conv2, self.conv3):
            y = F.relu(F.instance_norm(layer(y)))
        shortcut = x if self.downsample is None else F.instance_norm(self.downsample(x))
        return F.relu(shortcut + y)


class MatchingEncoder(nn.Module):
    """RAFT's small encoder: features at an eighth of the size, to be correlated."""

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = nn.Conv2d(3, first, 7, 2, 3)
        self.layer1 = nn.Sequential(Bottleneck(first, first, 1), Bottleneck(first, first, 1))
        self.layer2 = nn.Sequential(Bottleneck(first, second, 2), Bottleneck(second, second, 1))
        self.layer3 = nn.Sequential(Bottleneck(second, third, 2), Bottleneck(third, third, 1))
        self.conv2 = nn.Conv2d(third, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, outputs, H / 8, W / 8)."""
        x = F.relu(F.instance_norm(self.conv1(images)))
        features: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(x))))
        return features


class PyramidEncoder(nn.Module):
    """Features at a half, a quarter, an eighth and a sixteenth of the size."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        for level, (inputs, outputs) in enumerate(pairwise((3, *channels)), start=1):
            block = nn.Sequential(convolution(inputs, outputs, stride=2), convolution(outputs, outputs))
            self.add_module(f"pyramid{level}", block)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to one map per level, finest first."""
        maps = [images]
        for block in self.children():
            maps.append(block(maps[-1]))
        return maps[1:]


class PartialResidual(nn.Module):
    """Five convolutions with a shortcut; the second and fourth see only the last `narrow` channels."""

    def __init__(self, width: int, narrow: int) -> None:
        super().__init__()
        self.narrow = narrow
        self.conv1 = convolution(width, width)
        self.conv2 = convolution(narrow, narrow)
        self.conv3 = convolution(width, width)
        self.conv4 = convolution(narrow, narrow)
        self.conv5 = nn.Conv2d(width, width, 3, 1, 1)
        self.prelu = nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to the same shape."""
        y = self._on_last(self.conv2, self.conv1(x))
        y = self._on_last(self.conv4, self.conv3(y))
        result: Tensor = self.prelu(x + self.conv5(y))
        return result

    def _on_last(self, layer: nn.Module, x: Tensor) -> Tensor:
        others, last = x.tensor_split([x.shape[1] - self.narrow], dim=1)
        return torch.cat([others, layer(last)], dim=1)


class Decoder(nn.Module):
    """Maps of one level to twice the size."""

    def __init__(self, inputs: int, width: int, outputs: int, narrow: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            convolution(inputs, width),
            PartialResidual(width, narrow),
            nn.ConvTranspose2d(width, outputs, 4, 2, 1),
        )

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (B, C_i, h, w) to (B, outputs, 2h, 2w)."""
        result: Tensor = self.convblock(torch.cat(maps, dim=1))
        return result


class Update(nn.Module):
    """Corrections of features and flow from the correlations where the flow points."""

    def __init__(self, features: int, correlations: int, widths: Sequence[int]) -> None:
        super().__init__()
        matched, flow, flow_narrow, motion, hidden = widths
        self.convc1 = nn.Conv2d(correlations, matched, 1)
        self.convf1 = nn.Conv2d(4, flow, 7, 1, 3)
        self.convf2 = nn.Conv2d(flow, flow_narrow, 3, 1, 1)
        self.conv = nn.Conv2d(matched + flow_narrow, motion, 3, 1, 1)
        self.gru = _two_convolutions(motion + 4 + features, hidden, hidden)
        self.feat_head = _two_convolutions(hidden, hidden, features)
        self.flow_head = _two_convolutions(hidden, hidden, 4)

    def forward(self, features: Tensor, flow: Tensor, correlations: Tensor) -> tuple[Tensor, Tensor]:
        """Changes of features (B, C, h, w) and of both flows (B, 4, h, w)."""
        of_flow = _leaky(self.convf2(_leaky(self.convf1(flow))))
        motion = _leaky(self.conv(torch.cat([_leaky(self.convc1(correlations)), of_flow], dim=1)))
        hidden = self.gru(torch.cat([motion, flow, features], dim=1))
        return self.feat_head(hidden), self.flow_head(hidden)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


def _two_convolutions(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, width, 3, 1, 1), nn.LeakyReLU(0.1), nn.Conv2d(width, outputs, 3, 1, 1))
