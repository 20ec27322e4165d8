"""I3D: Inception-v1 inflated to three dimensions, with the keys of `i3d_pretrained_400.pt`. Imports torch.

Source: Carreira & Zisserman 2017 (arXiv 1705.07750), figure 3; checkpoint layout of piergiaj/pytorch-i3d.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Triple = tuple[int, int, int]

# Output channels of an Inception block: 1x1; 1x1 then 3x3; 1x1 then 3x3; pool then 1x1.
_BLOCKS: dict[str, tuple[int, ...]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
CLASSES = 400


class I3D(nn.Module):
    """Kinetics-400 classifier of a clip.

    Args:
        divisor: 1 for the published network; more divides every channel count but the classes.
    """

    def __init__(self, divisor: int = 1) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64 // divisor, (7, 7, 7), (2, 2, 2))
        self.MaxPool3d_2a_3x3 = SamePool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit(64 // divisor, 64 // divisor, (1, 1, 1))
        self.Conv3d_2c_3x3 = Unit(64 // divisor, 192 // divisor, (3, 3, 3))
        self.MaxPool3d_3a_3x3 = SamePool((1, 3, 3), (1, 2, 2))
        channels = 192 // divisor
        for name, widths in _BLOCKS.items():
            if name == "Mixed_4b":
                self.MaxPool3d_4a_3x3 = SamePool((3, 3, 3), (2, 2, 2))
            if name == "Mixed_5b":
                self.MaxPool3d_5a_2x2 = SamePool((2, 2, 2), (2, 2, 2))
            block = Inception(channels, [width // divisor for width in widths])
            self.add_module(name, block)
            channels = block.channels
        self.logits = Classes(channels, CLASSES)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits (B, 400), averaged over time, of clips (B, 3, T, 224, 224) in [-1, 1] with T of 9 or more."""
        hidden = clips
        for name, layer in self.named_children():  # registered in the order in which they run
            if name != "logits":
                hidden = layer(hidden)
        # Means over two steps of time and the whole image, 7 x 7, classified and then averaged. Classification is
        # linear, so the averages come first here.
        pooled = hidden.float().mean(dim=(3, 4))  # (B, 1024, T / 8)
        pairs = (pooled[..., 1:] + pooled[..., :-1]) / 2
        average = pairs.mean(dim=2)[..., None, None, None].to(hidden.dtype)
        return self.logits(average).flatten(1)  # type: ignore[no-any-return]


class Unit(nn.Module):
    """Convolution with as much padding as TensorFlow's "same", batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Triple, stride: Triple = (1, 1, 1)) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs)
        self.kernel, self.stride = kernel, stride

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, D, T', H', W')."""
        hidden = self.conv3d(_pad_same(hidden, self.kernel, self.stride))
        return torch.relu_(self.bn(hidden))


class Classes(nn.Module):
    """The classifying 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, D, T, H, W)."""
        return self.conv3d(hidden)  # type: ignore[no-any-return]  # nn.Module is not generic


class SamePool(nn.Module):
    """Maximum with as much padding by zeros as TensorFlow's "same"; its inputs are never negative."""

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C, T', H', W')."""
        return F.max_pool3d(_pad_same(hidden, self.kernel, self.stride), self.kernel, self.stride)


class Inception(nn.Module):
    """Four parallel branches, concatenated."""

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.b0 = Unit(inputs, widths[0], (1, 1, 1))
        self.b1a = Unit(inputs, widths[1], (1, 1, 1))
        self.b1b = Unit(widths[1], widths[2], (3, 3, 3))
        self.b2a = Unit(inputs, widths[3], (1, 1, 1))
        self.b2b = Unit(widths[3], widths[4], (3, 3, 3))
        self.b3a = SamePool((3, 3, 3), (1, 1, 1))
        self.b3b = Unit(inputs, widths[5], (1, 1, 1))
        self.channels = widths[0] + widths[2] + widths[4] + widths[5]

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, D, T, H, W)."""
        branches = (
            self.b0(hidden),
            self.b1b(self.b1a(hidden)),
            self.b2b(self.b2a(hidden)),
            self.b3b(self.b3a(hidden)),
        )
        return torch.cat(branches, dim=1)


def _pad_same(hidden: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Zeros so that a layer gives ceil(size / stride) outputs per axis; the odd one goes behind."""
    padding: list[int] = []
    for size, length, step in zip(reversed(hidden.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(length - (size % step or step), 0)
        padding += [total // 2, total - total // 2]
    return F.pad(hidden, padding) if any(padding) else hidden
