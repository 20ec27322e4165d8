"""What the trainer and its reference are both given: tensors started apart, texts, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from reference_network import Text
from torch import Tensor

from omninft_train.models.latents import Condition, Geometry
from omninft_train.training.state import Training


def apart(training: Training, scale: float) -> None:
    """Policy, old policy and, where it has parameters, the reference, each moved its own way."""
    policy = training.policy
    parts = [policy.trainable(), policy.old()]
    if training.config.policy.parameters == "full":
        parts.append(dict(policy.transformer("reference").named_parameters()))
    for number, part in enumerate(parts):
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for tensor in part.values():
                tensor.add_(scale * torch.randn(tensor.shape, generator=generator))


def double(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().double().clone() for name, value in values.items()}


def text(condition: Condition) -> Text:
    return Text(condition.video.double(), condition.audio.double(), condition.mask)


def sizes(geometry: Geometry) -> dict[str, Any]:
    """Of a clip, as the network takes them."""
    names = ("num_frames", "height", "width", "fps", "audio_num_frames")
    values = (geometry.frames, geometry.height, geometry.width, geometry.fps, geometry.audio_frames)
    return dict(zip(names, values, strict=True))


def shapes(geometry: Geometry) -> tuple[tuple[int, int], tuple[int, int]]:
    """Tokens and features of both streams."""
    tokens = geometry.frames * geometry.height * geometry.width
    return (tokens, geometry.video_channels), (geometry.audio_frames, geometry.audio_channels)
