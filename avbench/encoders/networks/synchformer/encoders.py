"""Synchformer: by how much are video and audio out of step? Logits over 21 offsets of -2 s to 2 s.

The sign is the network's: a positive offset means that the sound is early.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.networks.synchformer.frames import FpsFilter, square
from avbench.encoders.networks.synchformer.segments import RATE, Recipe
from avbench.media import Frames, Waveform

VIDEO = Frames(FpsFilter(), square)
AUDIO = Waveform(rate=RATE, mono=True, resampler="sinc")


def _load(context: LoadContext) -> Any:
    from avbench.encoders.networks.synchformer.network import load

    return load(context)


def _run(network: Any, clips: Sequence[ClipInput], recipe: Recipe) -> list[NDArray[np.float32]]:
    from avbench.encoders.networks.synchformer.inference import offset_logits

    return offset_logits(network, clips, recipe)


BACKBONE = Backbone(name="synchformer", load=_load, row="synchformer", packages=("torch", "torchvision"))


def _encoder(name: str, recipe: Recipe) -> Encoder:
    return Encoder(name, 1, BACKBONE, partial(_run, recipe=recipe), (VIDEO, AUDIO))


OWN_LENGTH = _encoder("synchformer", Recipe())
FOUR_SECONDS = _encoder("synchformer_4s", Recipe(length_s=4.0, desync_drop_last=True))
EIGHT_SECONDS = _encoder("synchformer_8s", Recipe(length_s=8.0, desync_drop_last=True))

__all__ = ["AUDIO", "BACKBONE", "EIGHT_SECONDS", "FOUR_SECONDS", "OWN_LENGTH", "VIDEO", "Recipe"]
