"""The encoder of DistillMOS; its weights come inside the package distillmos (MIT), of which no code runs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.onnx import files_digest, package_file
from avbench.errors import EnvironmentProblem
from avbench.media import Waveform

if TYPE_CHECKING:
    from torch import Tensor

RATE = 16000
_FILE = "weights/distill_mos_v7.pt"
# Of that file in distillmos 0.9.1: variant 7 of the network.
_SHA256 = "b18b3ac60227267cfb91e5d00ce22cc7b73716fd92f269484da1446e27031a40"
_SAMPLES = 122_880
_BATCH = 4

Samples = NDArray[np.float32]


def _load(context: LoadContext) -> Any:
    from avbench.encoders.loading import load_strict, read_state_dict, to_device
    from avbench.encoders.networks.distillmos.network import DistillMos

    path = package_file("distillmos", _FILE)
    if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
        raise EnvironmentProblem(f"{path} is not the file of distillmos 0.9.1; pip install 'distillmos==0.9.1'")
    network = DistillMos()
    load_strict(network, read_state_dict(path), path)
    # The digest of weights inside a package names no precision, so there is one: half the digits save nothing here.
    return to_device(network, replace(context, setup=replace(context.setup, precision="fp32")))


def pieces(sound: Samples) -> list[Samples]:
    """Stretches of 7.68 s that cover the sound (N,) in equal steps of at most 1 s; zeros behind shorter sound."""
    surplus = len(sound) - _SAMPLES
    if surplus <= 0:
        return [np.pad(sound, (0, -surplus))]
    fractions = np.linspace(0, 1, -(-surplus // RATE) + 1)
    return [sound[start : start + _SAMPLES] for start in (int(part * surplus) for part in fractions)]


def _run(network: Any, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    """One score per stretch, (S,)."""
    import torch

    device = next(network.parameters()).device

    def forward(chosen: list[Samples]) -> Tensor:
        result: Tensor = network(torch.from_numpy(np.stack(chosen)).to(device))
        return result

    return batched(forward, [pieces(clip.views[0][0]) for clip in clips], _BATCH, "distillmos")


DISTILLMOS = Encoder(
    name="distillmos",
    version=1,
    backbone=Backbone(
        name="distillmos",
        load=_load,
        packaged_digest=lambda: files_digest("distillmos", _FILE),
        packages=("torch", "distillmos"),
        extra="speech",
        packaged_licence="MIT",
    ),
    run=_run,
    views=(Waveform(rate=RATE, mono=True),),
)
