"""Audiobox Aesthetics: four qualities of a sound, from a WavLM encoder with one regression head each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.networks.audiobox.heads import AXES, INVENTED_TARGETS, HeadConfig, head_config
from avbench.encoders.networks.audiobox.inputs import (
    MAX_AUDIO_LEN_S,
    RATE,
    javisbench_audio,
    pad_windows,
    split_windows,
)
from avbench.errors import EnvironmentProblem
from avbench.media import Waveform
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor

    from avbench.encoders.networks.audiobox.network import AestheticsNetwork

__all__ = ["AUDIOBOX_AXES", "AUDIOBOX_AXES_COMPAT", "AXES", "MAX_AUDIO_LEN_S"]

ROW = "audiobox_aesthetics"

# The first convolution makes 65 MB of each window of 10 s in float32.
BATCH = 8


def _load(context: LoadContext) -> AestheticsNetwork:
    import torch

    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
    from avbench.encoders.networks.audiobox.network import FULL, REDUCED, AestheticsNetwork

    if context.setup.is_test:
        shape = REDUCED if context.setup.reduced else FULL
        network = AestheticsNetwork(shape, HeadConfig(targets=INVENTED_TARGETS, proj_num_layer=5, proj_ln=True))
        # At 0.02 the few channels of the reduced convolutions would fade below the epsilon of the norm after them.
        fill_keyed_random(network, he=context.setup.reduced)
    else:
        paths = files(ROW, context.setup)
        with torch.device("meta"):
            network = AestheticsNetwork(FULL, _read_config(paths["config.json"], layers=FULL.layers))
        path = paths["model.safetensors"]
        load_strict(network, read_state_dict(path), path)
    to_device(network, context)
    return network


def _read_config(path: Path, layers: int) -> HeadConfig:
    try:
        return head_config(json.loads(path.read_text()), layers)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise EnvironmentProblem(
            f"{path}: not a configuration of Audiobox Aesthetics that avbench can build ({error}). "
            f"Get the file again with 'avbench models pull {ROW}'."
        ) from error


def _forward(network: AestheticsNetwork, items: list[NDArray[np.float32]]) -> Tensor:
    import torch

    entry = next(network.parameters())
    sound, lengths = pad_windows(items)
    ratings: Tensor = network(
        torch.from_numpy(sound).to(entry.device, entry.dtype), torch.from_numpy(lengths).to(entry.device)
    )
    return ratings


def _axes(network: AestheticsNetwork, sounds: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Qualities (4,) per sound (N,): mean over its windows, weighted by their length."""
    clips = [split_windows(sound) for sound in sounds]
    outputs = batched(partial(_forward, network), clips, BATCH, ROW)
    return [
        np.average(output, axis=0, weights=[len(window) for window in windows]).astype(np.float32)
        for output, windows in zip(outputs, clips, strict=True)
    ]


def _run(network: AestheticsNetwork, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    return _axes(network, [clip.views[0][0] for clip in clips])


def _run_compat(network: AestheticsNetwork, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    return _axes(network, [javisbench_audio(clip.views[0][0], _rate(clip)) for clip in clips])


def _rate(clip: ClipInput) -> int:
    assert clip.audio is not None
    return clip.audio.sample_rate


BACKBONE = Backbone(name=ROW, load=_load, row=ROW)

AUDIOBOX_AXES = Encoder(
    name="audiobox_axes",
    version=1,
    backbone=BACKBONE,
    run=_run,
    views=(Waveform(rate=RATE, mono=True, resampler="sinc"),),
)
"""The whole sound, resampled properly -> float32 (4,): CE, CU, PC, PQ."""

AUDIOBOX_AXES_COMPAT = Encoder(
    name="audiobox_axes_compat",
    version=1,
    backbone=BACKBONE,
    run=_run_compat,
    views=(Waveform(rate=None, mono=True),),
)
"""The sound as JavisBench prepares it, its mistakes included -> float32 (4,): CE, CU, PC, PQ."""
