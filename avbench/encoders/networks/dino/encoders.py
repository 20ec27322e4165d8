"""DINO ViT-B/16: features of a frame that follow what is in it rather than its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched_frames
from avbench.encoders.images import bilinear_224
from avbench.media import Frames
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor

    from avbench.encoders.networks.dino.network import VisionTransformer

ROW = "dino_vitb16"
BATCH = 16
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def _load(context: LoadContext) -> VisionTransformer:
    import torch

    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
    from avbench.encoders.networks.dino.network import REDUCED, VIT_B16, VisionTransformer

    if context.setup.is_test:
        network = VisionTransformer(REDUCED if context.setup.reduced else VIT_B16)
        fill_keyed_random(network)
    else:
        with torch.device("meta"):
            network = VisionTransformer(VIT_B16)
        (path,) = files(ROW, context.setup).values()
        load_strict(network, read_state_dict(path), path)
    to_device(network, context)
    return network


def network_input(frames: Tensor) -> Tensor:
    """What the network sees of frames (B, h, w, 3) in 0 to 255: float32 (B, 3, h, w)."""
    import torch

    mean = torch.tensor(MEAN, device=frames.device).view(3, 1, 1)
    std = torch.tensor(STD, device=frames.device).view(3, 1, 1)
    return (frames.permute(0, 3, 1, 2) / 255 - mean) / std


def _run(network: VisionTransformer, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    import torch

    weight = network.cls_token

    def forward(frames: list[NDArray[np.float32]]) -> Tensor:
        pixels = torch.from_numpy(np.stack(frames)).to(weight.device)
        features: Tensor = network(network_input(pixels).to(weight.dtype))
        return features

    # Clip by clip: their frames differ in size.
    return [batched_frames(forward, clip.views[0], BATCH, ROW) for clip in clips]


DINO = Backbone(name=ROW, load=_load, row=ROW)

DINO_FRAMES = Encoder("dino_frames", 1, DINO, _run, views=(Frames(transform=bilinear_224),))
"""Every frame -> feature of the class token (T, 768), not normalised."""
