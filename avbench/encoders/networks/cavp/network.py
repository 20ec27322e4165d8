"""CAVP: a SlowOnly ResNet-50 for images and a Cnn14 for sound that meet in one space. Imports torch.

Source: Luo et al., "Diff-Foley", arXiv 2306.17203, stage 1; the entry names are those of its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from avbench.encoders.base import LoadContext
from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
from avbench.encoders.networks.cavp.inputs import MEL_BANDS

Kernel = tuple[int, int, int]


@dataclass(frozen=True)
class Config:
    """Sizes of the network.

    Attributes:
        width: channels after the first image layer.
        blocks: residual blocks of the four stages.
        audio_width: channels of the first sound block; the sixth has 32 times as many.
        dim: D, size of the common space.
    """

    width: int = 64
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    audio_width: int = 64
    dim: int = 512


REDUCED = Config(width=2, blocks=(1, 1, 1, 1), audio_width=2, dim=16)

# Only the two last stages look at neighbouring frames.
_TEMPORAL_KERNELS = (1, 1, 3, 3)


class ConvUnit(nn.Module):
    """Convolution over (time, height, width) and batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(inputs, outputs, kernel, (1, stride, stride), padding, bias=False)
        self.bn = nn.BatchNorm3d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.bn(self.conv(x))
        return normalised


class Bottleneck(nn.Module):
    """Residual block whose first convolution spans `frames` frames."""

    def __init__(self, inputs: int, width: int, frames: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvUnit(inputs, width, (frames, 1, 1))
        self.conv2 = ConvUnit(width, width, (1, 3, 3), stride)
        self.conv3 = ConvUnit(width, 4 * width, (1, 1, 1))
        changes = stride != 1 or inputs != 4 * width
        self.downsample = ConvUnit(inputs, 4 * width, (1, 1, 1), stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        inner = self.conv2(self.conv1(x).relu_()).relu_()
        out: Tensor = self.conv3(inner).add_(shortcut).relu_()
        return out


class SlowOnly(nn.Module):
    """ResNet over frames that keeps every frame's position in time."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.conv1 = ConvUnit(3, config.width, (1, 7, 7), 2)
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        channels = config.width
        for stage, (count, frames) in enumerate(zip(config.blocks, _TEMPORAL_KERNELS, strict=True)):
            width = config.width * 2**stage
            blocks = []
            for index in range(count):
                blocks.append(Bottleneck(channels, width, frames, 2 if stage and not index else 1))
                channels = 4 * width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, T, C)."""
        x = self.maxpool(self.conv1(x).relu_())
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return x.mean(dim=(3, 4)).transpose(1, 2)


class ConvBlock(nn.Module):
    """Two 3 x 3 convolutions over (time, mel), then averaging."""

    def __init__(self, inputs: int, outputs: int, pool: tuple[int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu_()
        x = self.bn2(self.conv2(x)).relu_()
        return F.avg_pool2d(x, self.pool)


class Cnn14(nn.Module):
    """Sound network: one vector per 16 spectrogram columns."""

    _POOLS = ((2, 2), (2, 2), (2, 2), (2, 2), (1, 2), (1, 1))

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(MEL_BANDS)
        channels = 1
        for number, pool in enumerate(self._POOLS, start=1):
            width = config.audio_width * 2 ** (number - 1)
            self.add_module(f"conv_block{number}", ConvBlock(channels, width, pool))
            channels = width
        self.fc1 = nn.Linear(channels, channels)
        self.final_project = nn.Linear(channels, config.dim)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """(B, T, mel) -> (B, T // 16, D)."""
        x = self.bn(spectrogram.transpose(1, 2).unsqueeze(3))  # (B, mel, T, 1)
        x = x.permute(0, 3, 2, 1)  # (B, 1, T, mel)
        for number in range(1, len(self._POOLS) + 1):
            x = self.get_submodule(f"conv_block{number}")(x)
        x = x.mean(dim=3)  # (B, C, T // 16)
        x = F.max_pool1d(x, 3, stride=1, padding=1) + F.avg_pool1d(x, 3, stride=1, padding=1)
        x = self.fc1(x.transpose(1, 2)).relu_()
        # The same layer twice: the published network was trained so.
        x = self.fc1(x).relu_()
        out: Tensor = self.final_project(x)
        return out


class Cavp(nn.Module):
    """Both networks. `logit_scale` is the training temperature: part of the checkpoint, unused here."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dim = config.dim
        self.video_encoder = SlowOnly(config)
        self.video_project_head = nn.Linear(32 * config.width, config.dim)
        self.spec_encoder = Cnn14(config)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def embed_video(self, frames: Sequence[NDArray[np.uint8]], length: int) -> Tensor:
        """Unit vectors of uint8 segments (T, H, W, 3), zeros after each one's end: (B, length, D) float32."""
        return self._embed(frames, length, self._video_vectors)

    def embed_audio(self, spectrograms: Sequence[NDArray[np.float32]], length: int) -> Tensor:
        """Unit vectors of float32 spectrograms (16 T, mel), zeros after each one's end: (B, length, D) float32."""
        return self._embed(spectrograms, length, self._audio_vectors)

    def _video_vectors(self, frames: Tensor) -> Tensor:
        scaled = frames.permute(0, 4, 1, 2, 3).to(self.logit_scale.dtype) / 255  # (B, 3, T, H, W)
        out: Tensor = self.video_project_head(self.video_encoder(scaled))
        return out

    def _audio_vectors(self, spectrograms: Tensor) -> Tensor:
        out: Tensor = self.spec_encoder(spectrograms.to(self.logit_scale.dtype))
        return out

    def _embed(self, items: Sequence[NDArray[np.generic]], length: int, forward: Callable[[Tensor], Tensor]) -> Tensor:
        """Items of equal length share a forward: padding before it would change the last vectors."""
        groups: dict[int, list[int]] = {}
        for index, item in enumerate(items):
            groups.setdefault(len(item), []).append(index)
        outputs: dict[int, Tensor] = {}
        for indices in groups.values():
            stacked = torch.from_numpy(np.stack([items[index] for index in indices]))
            vectors = F.normalize(forward(stacked.to(self.logit_scale.device)).float(), dim=-1)
            outputs.update(zip(indices, vectors, strict=True))
        padded = pad_sequence([outputs[index] for index in range(len(items))], batch_first=True)
        return F.pad(padded, (0, 0, 0, length - padded.shape[1]))  # (B, length, D)


def load(context: LoadContext, path: Path | None) -> Cavp:
    """Build the network and fill it from its checkpoint, or with keyed-random weights when `path` is None.

    Raises:
        EnvironmentProblem: the file is damaged or does not fit.
    """
    if path is None:
        network = Cavp(REDUCED if context.setup.reduced else Config())
        # Without the He scale the batch norms leave nothing of the input.
        fill_keyed_random(network, he=True)
    else:
        # Training with several processes put "module." before every name.
        state = {key.removeprefix("module."): value for key, value in read_state_dict(path).items()}
        with torch.device("meta"):
            network = Cavp(Config())
        load_strict(network, state, path)
    to_device(network, context)
    return network
