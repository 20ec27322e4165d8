"""S3FD: VGG-16 with six heads, with the entries of `sfd_face.pth`. Imports torch.

Source: Zhang et al., "S3FD: Single Shot Scale-Invariant Face Detector", arXiv 1708.05237; checkpoint of
joonson/syncnet_python.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avbench.encoders.base import LoadContext
from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
from avbench.weights.locate import files

ROW = "s3fd"

# Output channels of VGG-16's convolutions, "P" a pooling, "C" one that rounds up.
_VGG = (64, 64, "P", 128, 128, "P", 256, 256, 256, "C", 512, 512, 512, "P", 512, 512, 512, "P")
# Where the first three heads tap it: after the last convolution before each pooling from the third on.
_TAPS = (16, 23, 30)

Output = tuple[Tensor, Tensor, list[tuple[int, int]]]


class S3FD(nn.Module):
    """Offsets of boxes and scores of faces at six scales.

    Args:
        divisor: 1 for the published network; more divides every channel count.
    """

    def __init__(self, divisor: int = 1) -> None:
        super().__init__()
        third, fourth, wide, narrow = (size // divisor for size in (256, 512, 1024, 128))
        self.vgg = nn.ModuleList(_vgg(divisor))
        self.L2Norm3_3 = ChannelNorm(third)
        self.L2Norm4_3 = ChannelNorm(fourth)
        self.L2Norm5_3 = ChannelNorm(fourth)
        self.extras = nn.ModuleList(
            [
                nn.Conv2d(wide, third, 1),
                nn.Conv2d(third, fourth, 3, stride=2, padding=1),
                nn.Conv2d(fourth, narrow, 1),
                nn.Conv2d(narrow, third, 3, stride=2, padding=1),
            ]
        )
        widths = (third, fourth, fourth, wide, fourth, third)
        self.loc = nn.ModuleList(nn.Conv2d(width, 4, 3, padding=1) for width in widths)
        # The finest head has three kinds of background, of which the strongest counts.
        self.conf = nn.ModuleList(
            nn.Conv2d(width, 2 if number else 4, 3, padding=1) for number, width in enumerate(widths)
        )

    def forward(self, images: Tensor) -> Output:
        """Offsets (B, A, 4) and logits of background and face (B, A, 2) of A anchors, and rows and columns of each map.

        Args:
            images: RGB less its mean colour, (B, 3, H, W) with sides of 28 and more.
        """
        maps = self._maps(images)
        offsets = [_by_anchor(head(map), 4) for head, map in zip(self.loc, maps, strict=True)]
        logits = [head(map) for head, map in zip(self.conf, maps, strict=True)]
        logits[0] = torch.cat([logits[0][:, :3].amax(dim=1, keepdim=True), logits[0][:, 3:]], dim=1)
        sizes = [(map.shape[2], map.shape[3]) for map in maps]
        return torch.cat(offsets, dim=1), torch.cat([_by_anchor(values, 2) for values in logits], dim=1), sizes

    def _maps(self, images: Tensor) -> list[Tensor]:
        hidden, start, maps = images, 0, []
        for end, norm in zip(_TAPS, (self.L2Norm3_3, self.L2Norm4_3, self.L2Norm5_3), strict=True):
            hidden = _through(self.vgg[start:end], hidden)
            maps.append(norm(hidden))
            start = end
        maps.append(_through(self.vgg[start:], hidden))
        for first, second in ((0, 1), (2, 3)):
            maps.append(F.relu(self.extras[second](F.relu(self.extras[first](maps[-1])))))
        return maps


class ChannelNorm(nn.Module):
    """Divide each pixel by the length of its channels, then scale each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        length = torch.linalg.vector_norm(features, dim=1, keepdim=True) + 1e-10
        scaled: Tensor = features / length * self.weight[:, None, None]
        return scaled


def _vgg(divisor: int) -> Iterable[nn.Module]:
    channels = 3
    for width in _VGG:
        if isinstance(width, str):
            yield nn.MaxPool2d(2, ceil_mode=width == "C")
            continue
        yield nn.Conv2d(channels, width // divisor, 3, padding=1)
        yield nn.ReLU()
        channels = width // divisor
    # The fully connected layers of VGG, as convolutions.
    yield nn.Conv2d(channels, 1024 // divisor, 3, padding=6, dilation=6)
    yield nn.ReLU()
    yield nn.Conv2d(1024 // divisor, 1024 // divisor, 1)
    yield nn.ReLU()


def _through(layers: Iterable[nn.Module], hidden: Tensor) -> Tensor:
    for layer in layers:
        hidden = layer(hidden)
    return hidden


def _by_anchor(values: Tensor, width: int) -> Tensor:
    """(B, width, H, W) -> (B, H W, width)."""
    return values.permute(0, 2, 3, 1).reshape(len(values), -1, width)


def load(context: LoadContext) -> nn.Module:
    """The network with its weights, on its device."""
    network = S3FD(divisor=16 if context.setup.reduced else 1)
    if context.setup.is_test:
        fill_keyed_random(network, he=True)
    else:
        (path,) = files(ROW, context.setup).values()
        load_strict(network, read_state_dict(path), path)
    return to_device(network, context)
