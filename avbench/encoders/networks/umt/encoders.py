"""Logits of UMT for the actions of Kinetics-400."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.media import Frames, Middle
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor

ROW = "umt_l16_k400"
# As in `network`, which imports torch.
FRAMES = 16
_SHORT_SIDE, _SIDE = 256, 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Clips in one forward: 3,136 tokens each.
_BATCH = 2

Pixels = NDArray[np.uint8]


@cache
def actions() -> tuple[str, ...]:
    """Names of the 400 actions in the order of the logits, lower case.

    Source: Vchitect/VBench, vbench/third_party/umt/kinetics_400_categories.txt.
    """
    text = package_files("avbench.encoders.networks.umt").joinpath("kinetics_400.txt").read_text("utf-8")
    return tuple(text.lower().splitlines())


def bilinear_crop_224(frame: Pixels) -> Pixels:
    """Short side to 256, bilinear without antialiasing; then the central square of 224.

    Args:
        frame: (H, W, 3) uint8.

    Returns:
        (224, 224, 3) uint8.

    Source: the validation transform of OpenGVLab/unmasked_teacher on OpenCV images, as VBench uses it.
    """
    height, width = frame.shape[:2]
    longer = int(_SHORT_SIDE * max(height, width) / min(height, width))
    rows, columns = (longer, _SHORT_SIDE) if height >= width else (_SHORT_SIDE, longer)
    resized = cv2.resize(frame, (columns, rows), interpolation=cv2.INTER_LINEAR)
    top, left = round((rows - _SIDE) / 2), round((columns - _SIDE) / 2)
    return np.ascontiguousarray(resized[top : top + _SIDE, left : left + _SIDE], dtype=np.uint8)


def network_input(frames: Tensor) -> Tensor:
    """Frames uint8 (..., 224, 224, 3) as the network sees them: float32 (..., 3, 224, 224)."""
    import torch

    mean, std = (torch.tensor(values, device=frames.device) for values in (_MEAN, _STD))
    return ((frames.float() / 255 - mean) / std).movedim(-1, -3)


def _load(context: LoadContext) -> Any:
    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
    from avbench.encoders.networks.umt.network import REDUCED, Size, Umt

    network = Umt(REDUCED if context.setup.reduced else Size())
    if context.setup.is_test:
        fill_keyed_random(network, keep=["pos_embed"])
    else:
        (path,) = files(ROW, context.setup).values()
        # The table of positions is a formula: by its size, the published file leaves it out.
        load_strict(network, {"pos_embed": network.pos_embed.detach(), **read_state_dict(path)}, path)
    return to_device(network, context)


def _classify(network: Any, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    import torch

    weight = network.head.weight

    def forward(items: list[Pixels]) -> Tensor:
        pixels = torch.from_numpy(np.stack(items)).to(weight.device)  # (B, 16, 224, 224, 3)
        logits: Tensor = network(network_input(pixels).to(weight.dtype))
        return logits

    return [rows[0] for rows in batched(forward, [clip.views for clip in clips], _BATCH, "UMT")]


UMT_NETWORK = Backbone(name=ROW, load=_load, row=ROW)

UMT = Encoder("umt", 1, UMT_NETWORK, _classify, views=(Frames(Middle(FRAMES), bilinear_crop_224),))
"""The middle frames of sixteenths of the clip -> logits (400,) in the order of `actions`."""
