"""Audio head of AudioCLIP (ESResNeXt-fbsp), with the keys of `AudioCLIP-Full-Training.pt`. Imports torch.

Source: Guzhov et al. 2021 (arXiv 2104.11587, arXiv 2106.13043); layout and constants of AndreyGuzhov/AudioCLIP.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = 1654
HOP = 561
_FFT = 2048
_BANDS = 3  # thirds of the spectrum, taken as the three colours of an image
_BINS = _FFT // 2 + 1
_SILENT = 1e-18
_TINY = 1e-8
EMBEDDING = 1024

CONSTRUCTED = ("audio.window", "audio.fbsp.m", "audio.fbsp.fb", "audio.fbsp.fc")
"""Entries whose values are set when the network is built; random ones would mean nothing."""


@dataclass(frozen=True)
class Size:
    """How large the network is: blocks per stage, channels before the first stage, groups of 3x3 convolutions."""

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    groups: int = 32


REDUCED = Size(blocks=(1, 1, 1, 1), width=8, groups=4)


class AudioCLIP(nn.Module):
    """The audio branch alone, under the name that it has in the checkpoint."""

    def __init__(self, size: Size | None = None) -> None:
        super().__init__()
        self.audio = AudioHead(size or Size())

    def forward(self, decibels: Tensor) -> Tensor:
        """Embeddings (B, 1024), not normalised, of what `Spectrogram.decibels` gives, (B, 3, 341, T)."""
        return self.audio(decibels.to(self.audio.fc.weight.dtype))  # type: ignore[no-any-return]


class AudioHead(nn.Module):
    """ResNeXt over three bands of a trainable spectrogram, with attention beside each stage."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.window: Tensor
        self.register_buffer("window", blackman_harris(WINDOW))
        self.conv1 = nn.Conv2d(_BANDS, size.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(size.width)
        channels = size.width
        for stage, blocks in enumerate(size.blocks, start=1):
            outputs = 4 * size.width * 2 ** (stage - 1)
            layers = [Bottleneck(channels, outputs, size.groups, stride=1 if stage == 1 else 2)]
            layers += [Bottleneck(outputs, outputs, size.groups, stride=1) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
            # Odd stages look along frequency, even ones along time.
            self.add_module(f"att{stage}", Attention(channels, outputs, (3, 1) if stage % 2 else (1, 5)))
            channels = outputs
        self.att5 = Attention(channels, channels, (3, 5))
        self.fc = nn.Linear(channels, EMBEDDING)
        self.fbsp = Fbsp()

    def spectrogram(self) -> Spectrogram:
        """The trained spectrogram at the precision of the weights now; later changes do not reach it."""
        return Spectrogram(self.window.detach().clone(), self.fbsp.kernels().detach().reshape(2 * _BINS, _FFT))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, 341, T) -> (B, 1024)."""
        hidden = F.relu(self.bn1(self.conv1(image)))
        hidden = F.max_pool2d(hidden, 3, stride=2, padding=1)
        for stage in range(1, 5):
            before = hidden
            hidden = self.get_submodule(f"layer{stage}")(before)
            hidden = hidden * self.get_submodule(f"att{stage}")(before, hidden.shape[-2:])
        pooled = hidden.mean(dim=(2, 3), keepdim=True) * self.att5(hidden, (1, 1))
        return self.fc(pooled.flatten(1))  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """ResNeXt block; its inner width is half of its output."""

    def __init__(self, inputs: int, outputs: int, groups: int, stride: int) -> None:
        super().__init__()
        width = outputs // 2
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H', W')."""
        skipped = hidden if self.downsample is None else self.downsample(hidden)
        hidden = F.relu(self.bn1(self.conv1(hidden)))
        hidden = F.relu(self.bn2(self.conv2(hidden)))
        return F.relu(self.bn3(self.conv3(hidden)) + skipped)


class Attention(nn.Module):
    """Gates (0..1) for a stage's output, from its input pooled to the same size."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.conv_depth = nn.Conv2d(inputs, inputs, kernel, padding=padding, groups=inputs)
        self.conv_point = nn.Conv2d(inputs, outputs, 1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, hidden: Tensor, size: Sequence[int]) -> Tensor:
        """(B, C, H, W) -> (B, D, *size)."""
        pooled = F.adaptive_max_pool2d(hidden, tuple(size))
        return torch.sigmoid(self.bn(self.conv_point(self.conv_depth(pooled))))


class Fbsp(nn.Module):
    """Frequency B-spline wavelets with trainable order, bandwidth and centre; a DFT as constructed."""

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Parameter(torch.zeros(_BINS))
        self.fb = nn.Parameter(torch.ones(_BINS))
        self.fc = nn.Parameter(torch.arange(_BINS, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(0))  # an empty entry that the checkpoint holds

    def kernels(self) -> Tensor:
        """Real and imaginary parts (2, 1025, 2048): sqrt(fb) sinc(fb t / m)^m exp(-i fc t) / sqrt(2048)."""
        time = math.pi * torch.linspace(-1, 1, _FFT, dtype=self.m.dtype, device=self.m.device) + _TINY  # (2048,)
        order, bandwidth, centre = (entry[:, None] for entry in (self.m, self.fb, self.fc))
        x = bandwidth * time / (order + _TINY)
        sinc = torch.where(x == 0, torch.ones_like(x), torch.sin(x) / x)
        # A power of a real number that may be negative: magnitude and phase (0 or pi) apart.
        magnitude = sinc.square() ** (order / 2)
        phase = torch.atan2(torch.zeros_like(sinc), sinc) * order
        amplitude = bandwidth.sqrt() * magnitude / math.sqrt(_FFT)
        angle = phase - centre * time  # (1025, 2048)
        return torch.stack((amplitude * torch.cos(angle), amplitude * torch.sin(angle)))


def blackman_harris(length: int) -> Tensor:
    """Periodic 4-term Blackman-Harris window (length,)."""
    angle = 2 * math.pi * torch.arange(length, dtype=torch.float64) / length
    terms = ((0.35875, 0), (-0.48829, 1), (0.14128, 2), (-0.01168, 3))
    return torch.stack([weight * torch.cos(order * angle) for weight, order in terms]).sum(dim=0).float()


@dataclass(frozen=True)
class Spectrogram:
    """The network's input stage. Kept apart so that it stays in float32 when the network does not.

    Attributes:
        window: (1654,).
        kernels: (2050, 2048), real parts then imaginary parts. Their angles reach 1024 pi: bf16 would make other
            filters of them.
    """

    window: Tensor
    kernels: Tensor

    def to(self, device: str) -> Spectrogram:
        """The same on another device."""
        return Spectrogram(self.window.to(device), self.kernels.to(device))

    def decibels(self, sounds: Tensor) -> Tensor:
        """Power in decibels of three bands of 341 bins: (B, N) in the range of 16-bit integers -> (B, 3, 341, T).

        T = 1 + ceil((N - 1654) / 561), at least 1; what is missing for whole frames is added as zeros, half in front.
        """
        missing = (frames_of(sounds.shape[-1]) - 1) * HOP + WINDOW - sounds.shape[-1]
        padded = F.pad(_scale_from_int16(sounds), (missing // 2, missing - missing // 2))
        # The windowed frame is filled up to the length of the kernels although only zeros are added: the order of
        # summation decides what rounding leaves in bins without energy, and the logarithm shows it.
        margin = (_FFT - WINDOW) // 2
        frames = F.pad(padded.unfold(-1, WINDOW, HOP) * self.window, (margin, margin))  # (B, T, 2048)
        spectrum = F.linear(frames, self.kernels)  # (B, T, 2050)
        power = spectrum[..., :_BINS].square() + spectrum[..., _BINS:].square()
        height = _BINS // _BANDS
        bands = power[..., : _BANDS * height].mT.reshape(len(sounds), _BANDS, height, -1)
        return 10 * torch.log10(torch.where(bands > 0, bands, _SILENT))


def _scale_from_int16(sounds: Tensor) -> Tensor:
    """[-32768, 32767] -> [-1, 1], in this order of operations: float32 rounds small inputs to steps of 1/256."""
    return (sounds + 32768.0) * 2.0 / 65535.0 - 1.0


def frames_of(samples: int) -> int:
    """Number of spectrogram frames of a sound."""
    return 1 + max(math.ceil((samples - WINDOW) / HOP), 0)
