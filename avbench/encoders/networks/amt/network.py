"""AMT-S: the image halfway between two images. Written from the paper; entries are those of `amt-s.pth`.

Source: Li et al., "AMT: All-Pairs Multi-Field Transforms for Efficient Frame Interpolation", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from avbench.encoders.base import LoadContext
from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
from avbench.encoders.networks.amt.blocks import (
    Decoder,
    MatchingEncoder,
    PyramidEncoder,
    Update,
    convolution,
    resized,
    resized_flow,
    warped,
)
from avbench.encoders.networks.amt.correlation import WindowCorrelation
from avbench.encoders.pixels import positions
from avbench.weights.locate import files

HALFWAY = 0.5
LEVELS = 4


@dataclass(frozen=True)
class Size:
    """Channels of all parts.

    Attributes:
        pyramid: features at a half to a sixteenth of the size.
        decoders: widths of the decoders, finest first.
        narrow: channels that half of a decoder's convolutions see.
        matching: widths of the encoder whose features are correlated, and their number.
        update: of an update: correlations, flow, flow again, both, hidden state.
        radius: of the windows of correlations.
        flows: pairs of flow fields at full size.
    """

    pyramid: tuple[int, int, int, int] = (20, 32, 44, 56)
    decoders: tuple[int, int, int, int] = (60, 96, 132, 112)
    narrow: int = 20
    matching: tuple[int, int, int, int] = (32, 64, 96, 84)
    update: tuple[int, int, int, int, int] = (64, 40, 20, 68, 76)
    radius: int = 3
    flows: int = 3


REDUCED = Size(
    pyramid=(4, 4, 4, 4), decoders=(8, 8, 8, 8), narrow=4, matching=(4, 4, 4, 8), update=(8, 4, 4, 4, 8), radius=1
)  # fmt: skip


class AMT(nn.Module):
    """Bidirectional flow from the wanted time to both images, from coarse to fine; then three blended candidates."""

    def __init__(self, size: Size = Size()) -> None:
        super().__init__()
        self.size = size
        one, two, three, four = size.pyramid
        windows = 2 * LEVELS * (2 * size.radius + 1) ** 2
        self.feat_encoder = MatchingEncoder(size.matching[:3], size.matching[3])
        self.encoder = PyramidEncoder(size.pyramid)
        narrow, widths = size.narrow, size.decoders
        self.decoder4 = Decoder(2 * four + 1, widths[3], 4 + three, narrow)
        self.decoder3 = Decoder(3 * three + 4, widths[2], 4 + two, narrow)
        self.decoder2 = Decoder(3 * two + 4, widths[1], 4 + one, narrow)
        self.decoder1 = Decoder(3 * one + 4, widths[0], 8 * size.flows, narrow)
        self.update4 = Update(three, windows, size.update)
        self.update3 = Update(two, windows, size.update)
        self.update2 = Update(one, windows, size.update)
        self.comb_block = nn.Sequential(
            *convolution(3 * size.flows, 6 * size.flows), nn.Conv2d(6 * size.flows, 3, 3, 1, 1)
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """The image halfway between two, (B, 3, H, W) in [0, 1]; sides are multiples of 16 and at least 128."""
        mean = torch.stack([first, second]).mean(dim=(0, 2, 3, 4)).view(-1, 1, 1, 1)
        images = first - mean, second - mean
        flow, mask, residual = self._fields(images)
        candidates = self._candidates(images, flow, mask) + mean[:, None] + residual
        combined: Tensor = candidates.mean(dim=1) + self.comb_block(candidates.flatten(1, 2))
        return combined.clamp(0, 1)

    def _fields(self, images: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """For n candidates: flow to both (B, 2, n, 2, H, W), mask (B, n, 1, H, W), residual (B, n, 3, H, W)."""
        matching = _Matching(self.feat_encoder(torch.cat(images)), self.size.radius)
        pyramids = [self.encoder(image) for image in images]
        coarsest = torch.cat([pyramid[-1] for pyramid in pyramids], dim=1)
        flow, features = _split_flow(self.decoder4(coarsest, torch.full_like(coarsest[:, :1], HALFWAY)))
        for level, update, decoder in ((2, self.update4, self.decoder3), (1, self.update3, self.decoder2)):
            flow, output = self._refined(matching, update, decoder, [p[level] for p in pyramids], flow, features)
            change, features = _split_flow(output)
            flow = flow + change
        flow, output = self._refined(matching, self.update2, self.decoder1, [p[0] for p in pyramids], flow, features)
        count = self.size.flows
        changes, mask, residual = output.tensor_split([4 * count, 5 * count], dim=1)
        batch, _, height, width = flow.shape
        fields = flow.view(batch, 2, 1, 2, height, width) + changes.reshape(batch, 2, count, 2, height, width)
        return fields, mask.sigmoid()[:, :, None], residual.reshape(batch, count, 3, height, width)

    @staticmethod
    def _refined(
        matching: _Matching, update: Update, decoder: Decoder, maps: Sequence[Tensor], flow: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Correct flow and features of one level, then decode: the flow at twice the size, and the decoder's output."""
        flow, features = matching.corrected(update, flow, features)
        seen = [warped(each, field) for each, field in zip(maps, flow.chunk(2, dim=1), strict=True)]
        return resized_flow(flow, 2), decoder(features, *seen, flow)

    @staticmethod
    def _candidates(images: tuple[Tensor, Tensor], fields: Tensor, mask: Tensor) -> Tensor:
        """Each pair of fields brings both images to the wanted time, and its mask blends them: (B, n, 3, H, W)."""
        count = mask.shape[1]
        first, second = (
            warped(image.repeat_interleave(count, dim=0), fields[:, side].flatten(0, 1)).view(
                -1, count, *image.shape[1:]
            )
            for side, image in enumerate(images)
        )
        return mask * first + (1 - mask) * second


class _Matching:
    """Correlations of two images in both directions."""

    def __init__(self, features: Tensor, radius: int) -> None:
        first, second = features.chunk(2)
        self._to_second = WindowCorrelation(first, second, levels=LEVELS, radius=radius)
        self._to_first = WindowCorrelation(second, first, levels=LEVELS, radius=radius)
        self._positions = positions(first)

    def corrected(self, update: Update, flow: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Flow (B, 4, h, w) and features (B, C, h, w), corrected by what they match at the size of the correlations."""
        factor = flow.shape[-1] / self._positions.shape[-1]
        coarse, coarse_features = resized_flow(flow, 1 / factor), resized(features, 1 / factor)
        change, flow_change = update(coarse_features, coarse, self._correlations(coarse))
        return flow + resized_flow(flow_change, factor), features + resized(change, factor)

    def _correlations(self, flow: Tensor) -> Tensor:
        """Flow halfway to an image is doubled to reach from one image to the other."""
        to_first, to_second = flow.chunk(2, dim=1)
        return torch.cat(
            [
                self._to_second.at(self._positions + to_second / HALFWAY),
                self._to_first.at(self._positions + to_first / (1 - HALFWAY)),
            ],
            dim=1,
        )


def _split_flow(output: Tensor) -> tuple[Tensor, Tensor]:
    flow, features = output.tensor_split([4], dim=1)
    return flow, features


def load(context: LoadContext, row: str) -> nn.Module:
    """The network on its device, always in single precision: bfloat16 has no fractions of positions beyond 256."""
    network = AMT(REDUCED if context.setup.reduced else Size())
    if context.setup.is_test:
        fill_keyed_random(network)
    else:
        (path,) = files(row, context.setup).values()
        load_strict(network, read_state_dict(path), path)
    return to_device(network, replace(context, setup=replace(context.setup, precision="fp32")))
