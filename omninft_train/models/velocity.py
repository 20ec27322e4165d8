"""One call of diffusers' LTX-2 transformer (2.0 or later), with all arguments given explicitly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from omninft_train.errors import UsageError
from omninft_train.models.latents import Condition, Geometry, Latents

_LEVELS = 1000.0  # the network's time runs from 0 to 1000


def predict(
    transformer: Any, geometry: Geometry, x: Latents, t: Tensor, condition: Condition, *, skip_blocks: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Velocities of both streams at x_t, in the network's format.

    Args:
        x: x_t, B rollouts.
        t: (B,) noise levels in [0, 1].
        skip_blocks: blocks whose self-attention gives its values alone.

    Returns:
        Video (B, Lv, Cv) and audio (B, La, Ca).

    Raises:
        UsageError: a block to skip that is not there.
    """
    if skip_blocks:
        _let_skip(transformer, skip_blocks)
    times = _LEVELS * t.float()
    dtype = transformer.dtype
    mixed = dtype == torch.bfloat16  # adapters are in float32; let their products be in bfloat16 too
    with torch.autocast(x.video.device.type, torch.bfloat16, enabled=mixed):
        video, audio = transformer(
            hidden_states=x.video.to(dtype),
            audio_hidden_states=x.audio.to(dtype),
            encoder_hidden_states=condition.video.to(dtype),
            audio_encoder_hidden_states=condition.audio.to(dtype),
            timestep=times,
            sigma=times,
            encoder_attention_mask=condition.mask,
            audio_encoder_attention_mask=condition.mask,
            num_frames=geometry.frames,
            height=geometry.height,
            width=geometry.width,
            fps=geometry.fps,
            audio_num_frames=geometry.audio_frames,
            spatio_temporal_guidance_blocks=list(skip_blocks) or None,
            # From LTX-2.3 on, cross-attention is modulated by the other stream's level; here both streams share one.
            use_cross_timestep=version(transformer.config) != "2.0",
            return_dict=False,
            **_marks(transformer.config, geometry, x.video),
        )
    return video, audio


def _marks(config: Mapping[str, Any], geometry: Geometry, video: Tensor) -> dict[str, Tensor]:
    """The mask of the first latent frame's tokens, where a network marks them: from LTX-2.5 on.

    A latent frame stands for eight frames of video, the first one for a single frame. It is marked in all clips, with
    keyframes or without: Lightricks/LTX-2 at f51573cb, `VideoLatentTools._first_frame_keyframes_mask`.
    """
    if not config.get("use_keyframes_abs_pos_embedding", False):
        return {}
    mask = video.new_zeros(1, video.shape[1], 1)
    mask[:, : geometry.height * geometry.width] = 1.0
    return {"video_keyframes_mask": mask}


def version(config: Mapping[str, Any]) -> Literal["2.0", "2.3", "2.5"]:
    """Version of LTX that a transformer's configuration describes.

    From LTX-2.3 on text states are modulated in each block. LTX-2.5's feed-forward layers of the video have no bias.
    """
    if not (config["cross_attn_mod"] or config["audio_cross_attn_mod"]):
        return "2.0"
    return "2.3" if config.get("ff_bias", True) else "2.5"


def _let_skip(transformer: Any, blocks: Sequence[int]) -> None:
    """Make some blocks obey `spatio_temporal_guidance_blocks`; LTX-2.0's ignore it without a word."""
    from diffusers.models.transformers import transformer_ltx2

    make: Any = transformer_ltx2.LTX2PerturbedAttnProcessor
    for index in blocks:
        if not 0 <= index < len(transformer.transformer_blocks):
            depth = len(transformer.transformer_blocks)
            raise UsageError(f"block {index} cannot be skipped for guidance: the network has {depth} blocks.")
        block = transformer.transformer_blocks[index]
        if block.perturbed_attn:
            continue
        for attention in (block.attn1, block.audio_attn1):
            processor: Any = make()
            processor._attention_backend = attention.processor._attention_backend
            processor._parallel_config = attention.processor._parallel_config
            attention.set_processor(processor)
        block.perturbed_attn = True
