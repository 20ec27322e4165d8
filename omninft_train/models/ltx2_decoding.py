"""From clean latents of LTX-2 to frames and sound: de-normalise, unpack, VAE, vocoder."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omninft_train.models.latents import Geometry
from omninft_train.models.offload import moved

Tiling = Literal["none", "space", "time", "both"]


@dataclass(frozen=True)
class Decoders:
    """The networks between clean latents and a clip; diffusers types none of their attributes.

    Attributes:
        vae: an AutoencoderKLLTX2Video.
        audio_vae: an AutoencoderKLLTX2Audio.
        vocoder: an LTX2Vocoder, or an LTX2VocoderWithBWE; in float32.
        offload: they wait in main memory while nothing is decoded.
    """

    vae: Any
    audio_vae: Any
    vocoder: Any
    offload: bool = False

    def at(self, device: torch.device) -> AbstractContextManager[None]:
        """The networks on a device; those that wait in main memory come for this time."""
        return moved((self.vae, self.audio_vae, self.vocoder), device, "cpu") if self.offload else nullcontext()


def decode_video(tokens: Tensor, geometry: Geometry, decoders: Decoders) -> NDArray[np.uint8]:
    """uint8 (T, H, W, 3) of packed latents (1, Lv, C)."""
    vae = decoders.vae
    z = tokens.float().reshape(1, geometry.frames, geometry.height, geometry.width, -1).permute(0, 4, 1, 2, 3)
    # A VAE that takes a noise level gets clean latents.
    level = torch.zeros(1, device=z.device, dtype=vae.dtype) if vae.config.timestep_conditioning else None
    mean, std = (part.float().view(1, -1, 1, 1, 1) for part in (vae.latents_mean, vae.latents_std))
    z = z * std / vae.config.scaling_factor + mean  # (1, C, F, H, W)
    pixels = vae.decode(z.to(vae.dtype), level, return_dict=False)[0][0]  # (3, T, H, W) in [-1, 1]
    frames = (pixels.float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    video: NDArray[np.uint8] = frames.permute(1, 2, 3, 0).cpu().numpy()
    return video


def decode_audio(tokens: Tensor, decoders: Decoders) -> tuple[NDArray[np.float32], int]:
    """float32 (C, N) of packed latents (1, La, C), and its sampling rate."""
    vae, vocoder = decoders.audio_vae, decoders.vocoder
    z = tokens.float() * vae.latents_std.float() + vae.latents_mean.float()
    bins = vae.config.mel_bins // vae.mel_compression_ratio
    z = z.reshape(1, z.shape[1], -1, bins).transpose(1, 2)  # (1, C, La, M)
    mel = vae.decode(z.to(vae.dtype), return_dict=False)[0]
    waveform: NDArray[np.float32] = vocoder(mel.to(vocoder.dtype))[0].cpu().numpy()
    return waveform, int(vocoder.config.output_sampling_rate)
