"""GRiT for inference: boxes of a frame with names and captions. Imports torch and torchvision.

Source: Wu et al., "GRiT: A Generative Region-to-text Transformer for Object Understanding", arXiv 2212.00280; the
entry names are those of its checkpoint grit_b_densecap_objectdet.pth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.encoders.base import LoadContext
from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
from avbench.encoders.networks.grit.backbone import Pyramid
from avbench.encoders.networks.grit.detections import Detection
from avbench.encoders.networks.grit.proposals import Proposals
from avbench.encoders.networks.grit.regions import RegionHeads, objects, pool
from avbench.encoders.networks.grit.text import CAPTION, END, NAME, TextDecoder, TextSizes
from avbench.encoders.wordpieces import WordPieces
from avbench.errors import EnvironmentProblem

_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
_MULTIPLE = 32  # pixels that both sides are padded to a multiple of
_TEXT_SIDE = 14

_WORDS = "roi_heads.text_decoder.textual.embedding.words.weight"
_TIED = "roi_heads.text_decoder.textual.output.weight"
_HEAD = "proposal_generator.centernet_head."
_MASK_HEAD = "roi_heads.mask_head."
_TWIN, _DECODER = "roi_heads.text_decoder_det.", "roi_heads.text_decoder."


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network.

    Attributes:
        width, layers, heads: of the backbone.
        channels: of the feature maps, a multiple of 64.
        box_width: of the box heads.
        text: of the decoder.
    """

    width: int = 768
    layers: int = 12
    heads: int = 12
    channels: int = 256
    box_width: int = 1024
    text: TextSizes = field(default_factory=TextSizes)


REDUCED = Sizes(32, 3, 2, 64, 32, TextSizes(1, 16, 2, 32, 4, 256))


class Grit(nn.Module):
    """The network."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.backbone = Pyramid(sizes.width, sizes.layers, sizes.heads, sizes.channels)
        self.proposal_generator = Proposals(sizes.channels)
        decoder = TextDecoder(sizes.channels, sizes.text)
        self.roi_heads = RegionHeads(sizes.channels, sizes.box_width, decoder)

    def maps(self, frame: Tensor) -> list[Tensor]:
        """Five feature maps (1, C, h, w) of a frame (3, H, W), RGB in 0..255, finest first."""
        mean, std = (frame.new_tensor(values)[:, None, None] for values in (_MEAN, _STD))
        height, width = frame.shape[1:]
        padded = F.pad((frame - mean) / std, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE))
        maps: list[Tensor] = self.backbone(padded[None].to(self.backbone.fpn_stride_16_8.weight.dtype))
        return maps

    def find(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Boxes (n, 4) of the objects in a frame of a size (height, width), best first; some may be empty."""
        boxes, scores = self.proposal_generator(maps)
        boxes, _ = objects(*self.roi_heads.refine(maps[:3], boxes, scores, size))
        return boxes

    def describe(self, maps: Sequence[Tensor], boxes: Tensor, begins: tuple[int, ...]) -> list[list[list[int]]]:
        """Token ids of a text for each begin token and box (n, 4)."""
        features = pool(maps[:3], boxes, _TEXT_SIDE).flatten(2).transpose(1, 2)  # (n, 196, C)
        texts: list[list[list[int]]] = self.roi_heads.text_decoder(features, begins)
        return texts


@dataclass(frozen=True)
class Describer:
    """The network and its vocabulary."""

    network: Grit
    words: WordPieces

    def detect(self, frame: Tensor) -> list[Detection]:
        """Objects in a frame (3, H, W), RGB in 0..255 as float32 on the network's device, surest first."""
        maps = self.network.maps(frame)
        boxes = self.network.find(maps, (frame.shape[1], frame.shape[2]))
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)]
        kinds = self.network.describe(maps, boxes, (NAME, CAPTION))
        names, captions = ([self.words.spell(ids) for ids in kind] for kind in kinds)
        # Cut towards zero, as the reference turns coordinates into whole numbers.
        corners = [(x0, y0, x1, y1) for x0, y0, x1, y1 in boxes.int().tolist()]
        return [Detection(*row) for row in zip(corners, names, captions, strict=True)]


def build(sizes: Sizes) -> Grit:
    """The network without memory for its entries, to be filled by a checkpoint or by `fill_at_random`."""
    with torch.device("meta"):
        return Grit(sizes)


def fill_at_random(network: Grit, reach: float = 2.0) -> None:
    """Keyed-random weights, large enough that there are boxes and that texts depend on the region.

    Args:
        network: as built.
        reach: distance from the centre of most proposals to their sides, in strides of their map.
    """
    network.to_empty(device="cpu")
    for entry in network.state_dict().values():
        entry.zero_()  # memory may hold NaN, and entries with NaN are left alone
    fill_keyed_random(network)
    entries = network.state_dict()
    breadth = (entries[_WORDS].shape[1] / 96) ** 0.5  # sums grow with it
    entries[f"{_HEAD}bbox_pred.bias"] += reach
    entries[f"{_HEAD}bbox_pred.weight"] *= 10
    for key, entry in entries.items():
        if key.startswith(f"{_HEAD}scales."):
            entry += 1
        elif key.startswith(f"{_DECODER}textual.transformer.") and entry.ndim > 1:
            entry *= 5 / breadth
    entries[f"{_DECODER}textual.output.bias"][END] = 0.75 * breadth  # so that some texts end early


def used_entries(state: Mapping[str, Tensor], path: Path | str) -> dict[str, Tensor]:
    """Entries of a published checkpoint that inference uses.

    Left out are the mask head, and other names of the decoder's entries: the last layer of the decoder is its table of
    words, and a second decoder is the first.

    Raises:
        EnvironmentProblem: an entry that should be another's duplicate is not, or is absent.
    """
    twins = {key: _DECODER + key.removeprefix(_TWIN) for key in state if key.startswith(_TWIN)}
    twins[_TIED] = _WORDS
    for name, original in twins.items():
        pair = state.get(name), state.get(original)
        if pair[0] is None or pair[1] is None or not torch.equal(pair[0], pair[1]):
            raise EnvironmentProblem(f"{path} is not the published GRiT checkpoint: {name} is not {original}.")
    return {key: value for key, value in state.items() if key not in twins and not key.startswith(_MASK_HEAD)}


def load(context: LoadContext, path: Path | None) -> Grit:
    """Build the network and fill it from its checkpoint, or with keyed-random weights when `path` is None.

    Raises:
        EnvironmentProblem: the file is damaged or does not fit.
    """
    network = build(REDUCED if context.setup.reduced else Sizes())
    if path is None:
        # Far-reaching boxes leave few after the overlapping ones are dropped, so that tests are fast.
        fill_at_random(network, 6.0 if context.setup.reduced else 2.0)
    else:
        load_strict(network, used_entries(read_state_dict(path), path), path)
    to_device(network, context)
    return network
