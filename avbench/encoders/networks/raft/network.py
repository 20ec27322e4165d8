"""RAFT as torchvision has it, with the entries of the checkpoint that its authors published.

Source: Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", arXiv 2003.12039.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.optical_flow import raft

from avbench.encoders.base import LoadContext
from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
from avbench.encoders.pixels import positions
from avbench.weights.locate import files

UPDATES = 20
LEVELS = 4
STRIDE = 8

_RENAMED = (
    (r"^module\.", ""),
    (r"^fnet\.", "feature_encoder."),
    (r"^cnet\.", "context_encoder."),
    (r"^(\w+_encoder)\.conv1\.", r"\1.convnormrelu.0."),
    (r"^(\w+_encoder)\.norm1\.", r"\1.convnormrelu.1."),
    (r"^(\w+_encoder)\.conv2\.", r"\1.conv."),
    (r"(layer\d\.\d)\.conv(\d)\.", r"\1.convnormrelu\2.0."),
    (r"(layer\d\.\d)\.norm(\d)\.", r"\1.convnormrelu\2.1."),
    (r"^update_block\.encoder\.convc(\d)\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"^update_block\.encoder\.convf(\d)\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"^update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"^update_block\.gru\.conv([zrq])(\d)\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"^update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"^update_block\.mask\.2\.", "mask_predictor.conv."),
)
# The authors register the norm of a block's shortcut under two names; the other one is `downsample.1`.
_SECOND_NAME = re.compile(r"\.norm3\.")


def torchvision_entries(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Entries of the published checkpoint under the names of torchvision's network."""
    return {_torchvision_name(name): entry for name, entry in published.items() if not _SECOND_NAME.search(name)}


def _torchvision_name(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def build(*, reduced: bool = False) -> nn.Module:
    """RAFT with the sizes of its paper, or a small one of the same architecture."""
    network: nn.Module = _small() if reduced else raft.raft_large(weights=None)
    return network


def _small(width: int = 8) -> Any:
    correlation = raft.CorrBlock(num_levels=LEVELS, radius=1)
    return raft.RAFT(
        feature_encoder=raft.FeatureEncoder(layers=(width,) * 5, norm_layer=nn.InstanceNorm2d),
        context_encoder=raft.FeatureEncoder(layers=(width,) * 4 + (2 * width,), norm_layer=nn.BatchNorm2d),
        corr_block=correlation,
        update_block=raft.UpdateBlock(
            motion_encoder=raft.MotionEncoder(
                in_channels_corr=correlation.out_channels,
                corr_layers=(width, width),
                flow_layers=(width, width),
                out_channels=width,
            ),
            recurrent_block=raft.RecurrentBlock(input_size=2 * width, hidden_size=width),
            flow_head=raft.FlowHead(in_channels=width, hidden_size=width),
        ),
        mask_predictor=raft.MaskPredictor(in_channels=width, hidden_size=width),
    )


def load(context: LoadContext, row: str) -> nn.Module:
    """The network on its device, always in single precision.

    A position beyond 256 pixels has no fraction in bfloat16, and flow is the difference of two positions.
    """
    network = build(reduced=context.setup.reduced)
    if context.setup.is_test:
        fill_keyed_random(network)
    else:
        (path,) = files(row, context.setup).values()
        load_strict(network, torchvision_entries(read_state_dict(path)), path)
    return to_device(network, replace(context, setup=replace(context.setup, precision="fp32")))


def flow(network: Any, first: Tensor, second: Tensor) -> Tensor:
    """Optical flow in pixels from `first` to `second`, (B, 2, H, W): x and y.

    Equal to the last of torchvision's predictions. Those before it are not upsampled, which takes an eighth of the
    time, and the correlations are held once.

    Args:
        network: what `load` gives.
        first, second: pixels in [-1, 1], (B, 3, H, W); sides are multiples of 8 and at least 128.
    """
    features, others = network.feature_encoder(torch.cat([first, second])).chunk(2)
    network.corr_block.corr_pyramid = _correlations(features, others)
    width = network.update_block.hidden_state_size
    hidden, context = network.context_encoder(first).tensor_split([width], dim=1)
    hidden, context = hidden.tanh(), context.relu()
    start = positions(hidden).repeat(len(hidden), 1, 1, 1)
    end = start
    for _ in range(UPDATES):
        correlation = network.corr_block.index_pyramid(end)
        hidden, change = network.update_block(hidden, context, correlation, end - start)
        end = end + change
    network.corr_block.corr_pyramid = []
    return _upsampled(end - start, network.mask_predictor(hidden))


def _correlations(features: Tensor, others: Tensor) -> list[Tensor]:
    """Correlation of each position with all others, at four scales: (B * h * w, 1, h / 2^i, w / 2^i)."""
    channels, height, width = features.shape[1:]
    # Scaled before the product: for 256 channels that rounds nothing, and there is no second copy of the largest array.
    scaled = (features / channels**0.5).flatten(2)
    volume = torch.matmul(scaled.transpose(1, 2), others.flatten(2)).view(-1, 1, height, width)
    levels = [volume]
    for _ in range(LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2, stride=2))
    return levels


def _upsampled(coarse: Tensor, mask: Tensor) -> Tensor:
    """Flow at full size: each vector is a convex combination of nine coarse neighbours, eight times as long."""
    batch, _, height, width = coarse.shape
    weights = mask.view(batch, 1, 9, STRIDE, STRIDE, height, width).softmax(dim=2)
    neighbours = F.unfold(STRIDE * coarse, kernel_size=3, padding=1).view(batch, 2, 9, 1, 1, height, width)
    fine = (weights * neighbours).sum(dim=2)  # (B, 2, 8, 8, h, w)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, STRIDE * height, STRIDE * width)
