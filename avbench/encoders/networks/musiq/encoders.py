"""MUSIQ trained on SPAQ: how sharp, clean and well exposed an image is, from the image alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batch_for, batched_frames
from avbench.encoders.networks.musiq.sizes import shrink
from avbench.media import Frames
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor

    from avbench.encoders.networks.musiq.network import Musiq

ROW = "musiq_spaq"


def _load(context: LoadContext) -> Musiq:
    import torch

    from avbench.encoders.loading import fill_keyed_random, load_strict, to_device
    from avbench.encoders.networks.musiq.network import MUSIQ, REDUCED, Musiq

    if context.setup.is_test:
        network = Musiq(REDUCED if context.setup.reduced else MUSIQ)
        fill_keyed_random(network)
    else:
        with torch.device("meta"):
            network = Musiq(MUSIQ)
        (path,) = files(ROW, context.setup).values()
        load_strict(network, _entries(path), path)
    to_device(network, context)
    return network


def _entries(path: Path) -> dict[str, Tensor]:
    """Entries of the file by their names in the network; the file may have been written by a wrapped one."""
    from avbench.encoders.loading import read_state_dict

    return {key.removeprefix("module."): value for key, value in read_state_dict(path).items()}


def network_input(frames: Tensor) -> Tensor:
    """What the network sees of frames (B, h, w, 3), uint8 or float32 in 0 to 255: float32 (B, 3, h, w) in 0 to 1."""
    return frames.permute(0, 3, 1, 2).float() / 255


def _run(network: Musiq, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    import torch

    device = network.head.weight.device
    # A frame has up to 450 patches, of which the first convolutions make 90 MB at a time.
    size = batch_for(device, cpu=1, gpu=4)

    def forward(frames: list[NDArray[np.generic]]) -> Tensor:
        ratings: Tensor = network(network_input(torch.from_numpy(np.stack(frames)).to(device)))
        return ratings

    # Clip by clip: their frames differ in size.
    return [batched_frames(forward, clip.views[0], size, ROW)[:, 0] for clip in clips]


MUSIQ_SPAQ = Backbone(name=ROW, load=_load, row=ROW)

MUSIQ_FRAMES = Encoder("musiq_frames", 1, MUSIQ_SPAQ, _run, views=(Frames(transform=shrink),))
"""Every frame -> rating (T,), about 0 to 100, unbounded."""
