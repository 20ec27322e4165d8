"""Estimate the GPU memory of a run of LTX-2, by part, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from omninft_train.models.latents import Geometry
from omninft_train.models.ltx2 import CONFIG_FILES, clip_geometry, describe, locate
from omninft_train.models.ltx2_prompts import PROMPT_TOKENS
from omninft_train.models.policy import TARGETS

if TYPE_CHECKING:
    from omninft_train.config import Config

# Parameter, gradient, and two moments of Adam.
_TRAINED_COPIES = 4
_FLOAT32 = 4
# Bytes that one block keeps for its backward pass, per token and feature of its stream, under bfloat16 autocast with
# adapters in float32. Counted by hooks on saved tensors of the real block; 2.0 and 2.3 differ by less than 5 %.
_KEPT_VIDEO, _KEPT_AUDIO, _KEPT_TEXT = 100, 111, 18
# Largest feature maps of the video decoder that are alive at once: input, output and two inside a residual block.
_DECODER_MAPS = 4


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU, without the networks of the rewards, CUDA's own and fragmentation: leave 10 % free.

    Loading takes no more: beside what it keeps, a GPU has one tensor on its way.

    Attributes:
        base: frozen weights; all weights where everything is trained.
        gathered: weights of two blocks that are put together for use, where weights are spread over GPUs.
        trained: adapters with gradients and Adam's moments; for everything, gradients and moments. Methods that weigh
            rewards by their gradients keep one for each reward.
        old, reference: copies of what is trained; with adapters the reference costs nothing.
        activations: of one update batch.
        prompts: conditioning of this GPU's rollouts and of the negative prompt.
        decoders: weights of both VAEs and the vocoder, and the work space for one clip.
    """

    base: int
    gathered: int
    trained: int
    old: int
    reference: int
    activations: int
    prompts: int
    decoders: int

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return sum(getattr(self, entry.name) for entry in fields(self))

    def table(self) -> str:
        """One line per part, in GB of 1e9 bytes."""
        rows = [(entry.name, getattr(self, entry.name)) for entry in fields(self)] + [("total", self.total)]
        lines = [f"  {name:<12}{size / 1e9:>8.2f} GB" for name, size in rows]
        return "\n".join(["memory per GPU, estimated, without rewards", *lines])


def estimate(config: Config, world: int = 1, shards: int | None = None) -> Memory:
    """Memory of a run of LTX-2.

    Only configurations are read, no weights.

    Args:
        config: of the run.
        world: number of processes, one GPU each.
        shards: GPUs that the weights are spread over; None for all with adapters, and 1 where everything is trained.

    Raises:
        UsageError: not LTX-2, or a size of clips that it cannot make.
        EnvironmentProblem: configurations cannot be read.
    """
    section = config.backbone
    parts = describe(locate(section.path, CONFIG_FILES))
    geometry = clip_geometry(parts, section)
    transformer, size = parts["transformer"], getattr(torch, section.dtype).itemsize
    adapters = config.policy.parameters == "lora"
    if shards is None:
        shards = world if adapters else 1
    weights, block = _count(transformer), _count(transformer.transformer_blocks[0])
    apart = _gradients_apart(config)
    if adapters:
        copy = adapter_parameters(transformer, config.policy.rank) * _FLOAT32
        trained, old, reference = (_TRAINED_COPIES + apart) * copy, copy, 0
    else:
        copy = weights * size
        trained, old, reference = (_TRAINED_COPIES - 1 + apart) * copy, copy, copy
    inputs, kept = _activations(transformer, geometry, size)
    activations = inputs + kept if section.gradient_checkpointing else transformer.config.num_layers * kept
    prompts = config.prompts.rollouts // world + 1
    return Memory(
        base=weights * size // shards,
        gathered=2 * block * size if shards > 1 else 0,
        trained=trained // shards,
        old=old // shards,
        reference=reference // shards,
        activations=config.optimizer.batch * activations,
        prompts=prompts * PROMPT_TOKENS * sum(_text_features(transformer)) * size,
        decoders=_decoders(parts, geometry, size),
    )


def _gradients_apart(config: Config) -> int:
    """Gradients of single rewards that are kept beside the policy's own."""
    used = [reward for reward in config.rewards.reward if reward.weight != 0]
    if config.arr.enabled and config.arr.kappa:
        return sum(2 if reward.route == "both" else 1 for reward in used)
    return len(used) if config.marble.enabled else 0


def adapter_parameters(transformer: nn.Module, rank: int) -> int:
    """Parameters of a LoRA on all attentions and feed-forward layers of both streams."""
    adapted = tuple(f".{target}" for target in TARGETS)
    return sum(
        rank * (layer.in_features + layer.out_features)
        for name, layer in transformer.named_modules()
        if isinstance(layer, nn.Linear) and name.startswith("transformer_blocks.") and name.endswith(adapted)
    )


def _activations(transformer: Any, geometry: Geometry, size: int) -> tuple[int, int]:
    """Of one rollout at one level: the inputs of all blocks, and what one block keeps."""
    config = transformer.config
    video = geometry.video_tokens * config.num_attention_heads * config.attention_head_dim
    audio = geometry.audio_frames * config.audio_num_attention_heads * config.audio_attention_head_dim
    text = PROMPT_TOKENS * config.num_attention_heads * config.attention_head_dim
    block = (_KEPT_VIDEO * video + _KEPT_AUDIO * audio + _KEPT_TEXT * text) * size // 2
    return config.num_layers * (video + audio) * size, block


def _text_features(transformer: Any) -> tuple[int, int]:
    config = transformer.config
    if config.use_prompt_embeddings:
        return config.caption_channels, config.caption_channels
    return config.cross_attention_dim, config.audio_cross_attention_dim


def _decoders(parts: dict[str, Any], geometry: Geometry, size: int) -> int:
    vae = parts["vae"]
    patch = vae.config.patch_size
    pixels = geometry.height * geometry.width * vae.spatial_compression_ratio**2
    frames = (geometry.frames - 1) * vae.temporal_compression_ratio + 1
    channels = vae.decoder.conv_out.conv.in_channels
    work: int = _DECODER_MAPS * channels * frames * pixels // patch**2
    weights = (_count(parts["vae"]) + _count(parts["audio_vae"])) * size + _count(parts["vocoder"]) * _FLOAT32
    return weights + work * size


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
