"""I3D features of a clip for Fréchet and kernel video distance (Carreira & Zisserman 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.networks.i3d.letterbox import letterbox_224
from avbench.media import Frames
from avbench.media.sampling import Linspace
from avbench.weights.locate import files

FRAMES = 24
BATCH = 4


def _load(context: LoadContext) -> Any:
    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
    from avbench.encoders.networks.i3d.network import I3D

    network = I3D(divisor=16 if context.setup.reduced else 1)
    if context.setup.is_test:
        fill_keyed_random(network, he=True)
    else:
        (path,) = files("i3d_k400", context.setup).values()
        load_strict(network, read_state_dict(path), path)
    return to_device(network, context)


def run(network: Any, clips: Sequence[ClipInput], *, half_range: bool) -> list[NDArray[np.float32]]:
    """Kinetics-400 logits (400,) per clip.

    Args:
        network: `I3D`.
        clips: one view each, (24, 224, 224, 3) uint8.
        half_range: the reference takes pixels in [0, 1] for [-1, 1], so that the network sees them in [0, 1]
            (quirk `fvd_half_range`). False: [-1, 1], as the network was trained.

    Source: JavisDiT eval/javisbench, FVD in its "vanilla" mode.
    """
    import torch

    weight = next(network.parameters())

    def forward(items: list[NDArray[np.uint8]]) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack(items)).to(weight.device)  # (B, 24, 224, 224, 3)
        values = pixels.permute(0, 4, 1, 2, 3).float()
        if half_range:
            values = torch.floor((values + 255) / 2)
        network_input = (values / 255 - 0.5) * 2  # (B, 3, 24, 224, 224)
        logits: torch.Tensor = network(network_input.to(weight.dtype))
        return logits

    outputs = batched(forward, [clip.views for clip in clips], BATCH, "I3D")
    return [output[0] for output in outputs]


I3D_BACKBONE = Backbone(name="i3d_k400", load=_load, row="i3d_k400")

_VIEW = Frames(Linspace(FRAMES), transform=letterbox_224)

I3D_FIXED = Encoder("i3d", 1, I3D_BACKBONE, partial(run, half_range=False), views=(_VIEW,))
"""24 frames over the whole clip in [-1, 1] -> 400 logits."""

I3D_COMPAT = Encoder("i3d_half_range", 1, I3D_BACKBONE, partial(run, half_range=True), views=(_VIEW,))
"""The same with the reference's range error, which its released features have too."""
