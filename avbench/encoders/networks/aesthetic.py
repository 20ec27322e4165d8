"""LAION's aesthetic predictor: a linear layer on CLIP ViT-L/14's feature of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batch_for, batched_frames
from avbench.encoders.images import bicubic_crop_224
from avbench.encoders.networks.clip import build, network_input
from avbench.media import Frames
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor, nn

ROW = "laion_aesthetic_l14"
CLIP_ROW = "clip_vit_l14"
ARCHITECTURE = "ViT-L-14-quickgelu"


@dataclass(frozen=True)
class Predictor:
    """The two networks.

    Attributes:
        images: CLIP's network of images, (B, 3, 224, 224) -> (B, D).
        head: unit features (B, D) -> ratings (B, 1), always in fp32.
    """

    images: nn.Module
    head: nn.Linear

    def features(self, frames: Tensor) -> Tensor:
        """Unit features (B, D), fp32, of frames (B, 224, 224, 3) in 0 to 255."""
        import torch.nn.functional as F

        weight = next(self.images.parameters())
        inputs = network_input(frames.to(weight.device), clip_bgr=False)
        return F.normalize(self.images(inputs.to(weight.dtype)).float(), dim=1)

    def rate(self, frames: Tensor) -> Tensor:
        """Ratings (B, 1) of frames (B, 224, 224, 3) in 0 to 255."""
        ratings: Tensor = self.head(self.features(frames))
        return ratings


def _load(context: LoadContext) -> Predictor:
    import torch

    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device

    clip: Any
    if context.setup.is_test:
        clip = build(ARCHITECTURE, reduced=context.setup.reduced)
        head = torch.nn.Linear(clip.visual.output_dim, 1)
        fill_keyed_random(clip)
        fill_keyed_random(head)
    else:
        clip, head = build(ARCHITECTURE), torch.nn.Linear(768, 1)
        for module, row in ((clip, CLIP_ROW), (head, ROW)):
            (path,) = files(row, context.setup).values()
            load_strict(module, read_state_dict(path), path)
    # The network of texts was read to be sure of the file; it is not needed.
    to_device(clip.visual, context)
    return Predictor(clip.visual, head.eval().requires_grad_(False).to(context.device))


def _run(network: Predictor, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    import torch

    def forward(frames: list[NDArray[np.float32]]) -> Tensor:
        return network.rate(torch.from_numpy(np.stack(frames)))

    size = batch_for(network.head.weight.device, cpu=4, gpu=32)
    return [batched_frames(forward, clip.views[0], size, ROW)[:, 0] for clip in clips]


LAION_AESTHETIC = Backbone(name=ROW, load=_load, row=ROW, packages=("torch", "open_clip"))

AESTHETIC_FRAMES = Encoder("aesthetic_frames", 1, LAION_AESTHETIC, _run, views=(Frames(transform=bicubic_crop_224),))
"""Every frame -> rating (T,), about 1 to 10, unbounded."""
