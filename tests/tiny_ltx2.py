"""Tiny LTX-2 transformers with weights drawn by name, the reference numbers on them, and true sizes without weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import LTX2VideoTransformer3DModel
from torch import Tensor

from omninft_train.models.latents import Condition, Geometry, Latents

GOLDENS = Path(__file__).parent / "goldens" / "training"
NAMES = ("ltx2", "ltx23")
_LTX23: dict[str, Any] = {
    "gated_attn": True,
    "cross_attn_mod": True,
    "audio_gated_attn": True,
    "audio_cross_attn_mod": True,
    "use_prompt_embeddings": False,
    "perturbed_attn": True,
}
_NEWER = {
    "ltx2": {},
    "ltx23": _LTX23,
    "ltx25": _LTX23 | {"ff_bias": False, "use_keyframes_abs_pos_embedding": True},
}


@dataclass(frozen=True)
class Case:
    """One tiny model and its reference numbers.

    Attributes:
        facts: sizes, noise level, gradient norms.
        arrays: inputs and outputs.
    """

    name: str
    facts: dict[str, Any]
    arrays: dict[str, Tensor]

    @property
    def geometry(self) -> Geometry:
        """Sizes of its clips."""
        facts = self.facts
        sizes = (facts["latent_frames"], facts["latent_height"], facts["latent_width"], facts["audio_frames"])
        return Geometry(*sizes, facts["config"]["in_channels"], facts["config"]["audio_in_channels"], 24.0)

    @property
    def x(self) -> Latents:
        """What the network is given."""
        return Latents(self.arrays["hidden_states"], self.arrays["audio_hidden_states"])

    @property
    def t(self) -> Tensor:
        """(B,)."""
        return torch.full((self.facts["batch"],), self.facts["sigma"])

    @property
    def condition(self) -> Condition:
        """Text states."""
        return Condition(self.arrays["encoder_hidden_states"], self.arrays["audio_encoder_hidden_states"])

    def transformer(self, **changes: Any) -> LTX2VideoTransformer3DModel:
        """The network, in evaluation mode; with changes of its configuration."""
        return keyed(**(self.facts["config"] | changes))

    def shallow(self) -> LTX2VideoTransformer3DModel:
        """Its first two blocks: adapters are put on them in a third of the time."""
        return self.transformer(num_layers=2)


def load_case(name: str) -> Case:
    """The reference numbers of "ltx2" or "ltx23"."""
    cases = json.loads((GOLDENS / "tiny_ltx2.json").read_text(encoding="utf-8"))["cases"]
    facts = next(case for case in cases if case["name"] == name)
    with np.load(GOLDENS / "tiny_ltx2.npz") as arrays:
        own = {key: torch.from_numpy(arrays[key]) for key in arrays if key.startswith(f"{name}/")}
    return Case(name, facts, {key.removeprefix(f"{name}/"): value for key, value in own.items()})


def keyed(**config: Any) -> LTX2VideoTransformer3DModel:
    """A transformer whose weights follow from their names alone."""
    network = LTX2VideoTransformer3DModel(**config)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 2**63
            value.copy_(_scaled(name, torch.randn(value.shape, generator=torch.Generator().manual_seed(seed))))
    return network.eval()


def _scaled(name: str, drawn: Tensor) -> Tensor:
    if name.endswith("scale_shift_table"):
        return 0.3 * drawn
    if name.endswith("keyframes_abs_pos_embedding"):
        return 0.1 * drawn
    if drawn.ndim >= 2:
        return drawn / drawn.shape[1] ** 0.5
    return 1 + 0.1 * drawn if name.endswith("weight") else 0.1 * drawn


def true_size(name: str) -> LTX2VideoTransformer3DModel:
    """LTX-2.0, 2.3 or 2.5 ("ltx2", "ltx23", "ltx25") at its real size, without memory for weights."""
    with torch.device("meta"):
        return LTX2VideoTransformer3DModel(rope_type="split", **_NEWER[name])


def stir(tensors: dict[str, Tensor], scale: float = 0.2) -> None:
    """Move parameters away from where they start, so that adapters do something."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for tensor in tensors.values():
            tensor.add_(scale * torch.randn(tensor.shape, generator=generator))


def step_loss(velocity: Latents, case: Case) -> Tensor:
    """A scalar that depends on both streams, one summand per sample."""
    video = (velocity.video.float() * case.arrays["loss_coef_video"]).sum()
    return video + (velocity.audio.float() * case.arrays["loss_coef_audio"]).sum()
