"""Estimate the GPU memory of a run of LTX-2, by part and by phase, before anything is loaded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import nn

from omninft_train.models.latents import Geometry
from omninft_train.models.lora import adapter_shapes
from omninft_train.models.ltx2 import (
    CONFIG_FILES,
    DECODERS,
    NETWORKS,
    clip_geometry,
    describe,
    locate,
    network_dtype,
)
from omninft_train.models.ltx2_prompts import PROMPT_TOKENS
from omninft_train.rewards.held_out import held_out_specs
from omninft_train.rewards.local import network_bytes

if TYPE_CHECKING:
    from omninft_train.config import BackboneSection, Config

# What is trained has its two moments of Adam beside it all the time, and gradients while it is updated.
_MOMENTS = 2
_FLOAT32 = 4
# Bytes that one block keeps for its backward pass, per token and feature of its stream, under bfloat16 autocast with
# adapters in float32. Counted by hooks on saved tensors of the real block; versions differ by less than 5 %.
_KEPT_VIDEO, _KEPT_AUDIO, _KEPT_TEXT = 100, 111, 18
# Tensors as wide as a stream that are alive at once in a pass without gradients: the feed-forward layer's input, its
# inner states before and behind the activation, each four times as wide, its output and the residual.
_ALIVE = 11
# Largest feature maps of the video decoder that are alive at once: input, output and two inside a residual block.
_DECODER_MAPS = 4


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU, without CUDA's own and fragmentation: leave 10 % free.

    Attributes:
        base: frozen weights; all weights where everything is trained.
        gathered: weights of two blocks that are put together for use, where weights are spread over GPUs.
        trained: adapters with Adam's moments; for everything, the moments.
        gradients: of what is trained. Methods that weigh rewards by their gradients keep one for each reward.
        old, reference: copies of what is trained; with adapters the reference costs something only where it is a LoRA
            that was started from.
        prompts: conditioning of this GPU's rollouts and of the negative prompt.
        activations: of one update batch.
        passing: what a pass without gradients holds, for one sampling batch.
        decoders: weights of both VAEs and the vocoder.
        decoding: work space for one clip, or one of its tiles.
        rewards: weights of the rewards' networks on this GPU, as large as their files.
        heldout: the same of `evaluation.heldout`, which are there during evaluations alone; 0 without these.
        load: when networks are loaded: the text encoder alone, or what of all others stays on this GPU.
        sample, decode, score, update: in each phase of a step.
        evaluate: the most while a policy is evaluated; 0 where none is.
    """

    base: int
    gathered: int
    trained: int
    gradients: int
    old: int
    reference: int
    prompts: int
    activations: int
    passing: int
    decoders: int
    decoding: int
    rewards: int
    heldout: int
    load: int
    sample: int
    decode: int
    score: int
    update: int
    evaluate: int

    @property
    def peak(self) -> int:
        """The largest of all phases."""
        phases: list[int] = [getattr(self, name) for name in PHASES]
        return max(phases)

    def table(self) -> str:
        """One line per part and phase, in GB of 1e9 bytes."""
        names = [entry.name for entry in fields(self)]
        lines = [f"  {name:<12}{getattr(self, name) / 1e9:>8.2f} GB" for name in (*names, "peak")]
        first = names.index(PHASES[0])
        head = "memory per GPU, estimated"
        return "\n".join([f"{head}: parts", *lines[:first], f"{head}: phases", *lines[first:]])


PHASES = ("load", "sample", "decode", "score", "update", "evaluate")


def estimate(config: Config, world: int = 1, shards: int | None = None) -> Memory:
    """Memory of a run of LTX-2.

    Only configurations are read, no weights.

    Args:
        world: number of processes, one GPU each.
        shards: GPUs that the weights are spread over; None for all with adapters, and 1 where everything is trained or
            the base is quantised.

    Raises:
        UsageError: not LTX-2, or a size of clips that it cannot make.
        EnvironmentProblem: configurations cannot be read.
    """
    section = config.backbone
    folder = locate(section.path, CONFIG_FILES)
    parts = _described(folder, tuple(_state(folder / name / "config.json") for name in NETWORKS))
    geometry, transformer = clip_geometry(parts, section), parts["transformer"]
    dtype, adapters = getattr(torch, section.dtype), config.policy.parameters == "lora"
    size = dtype.itemsize
    if shards is None:
        shards = world if adapters and section.quantize == "none" else 1
    weights = _weights(transformer, size, section.quantize)
    copy = adapter_parameters(transformer, config.policy.rank) * _FLOAT32 if adapters else weights
    inputs, kept = _activations(transformer, geometry, size)
    activations = inputs + kept if section.gradient_checkpointing else transformer.config.num_layers * kept
    streams = inputs // transformer.config.num_layers
    prompts = (config.prompts.rollouts // world + 1) * PROMPT_TOKENS * sum(_text_features(transformer)) * size
    sizes = {
        "base": weights // shards,
        "gathered": 2 * _count(transformer.transformer_blocks[0]) * size if shards > 1 else 0,
        "trained": (_MOMENTS + adapters) * copy // shards,
        "gradients": (1 + _gradients_apart(config)) * copy // shards,
        "old": copy // shards,
        "reference": copy // shards if not adapters or config.policy.init else 0,
        "prompts": prompts,
        "activations": config.optimizer.batch * activations,
        "passing": config.sampling.batch * _ALIVE * streams,
        "decoders": sum(_count(parts[name]) * network_dtype(name, dtype).itemsize for name in DECODERS),
        "decoding": _decoding(parts["vae"], geometry, section) * size,
    }
    networks, others = _reward_networks(config), _held_out_networks(config)
    sizes |= {"rewards": sum(networks), "heldout": sum(others)}
    loaded = (weights + (3 if config.policy.init else 2) * copy if adapters else 3 * weights) // shards
    load = max(loaded, _text_encoder(folder, size))
    # Evaluations sample and judge as steps do, with the networks of held-out metrics beside all.
    evaluating = _phases(config, sizes, networks + others, load)
    evaluate = max(evaluating[name] for name in ("sample", "decode", "score")) if config.run.eval_every else 0
    return Memory(**sizes, **_phases(config, sizes, networks, load), evaluate=evaluate)


@lru_cache(maxsize=1)
def _described(folder: Path, _states: tuple[object, ...]) -> dict[str, Any]:
    """The networks of a pipeline on the meta device, which are only read here.

    They take seconds to build, and layouts are tried one after the other.
    """
    return describe(folder)


def _state(path: Path) -> object:
    """Another one wherever a file has changed; None where it cannot be read, of which `describe` says more."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _phases(config: Config, sizes: dict[str, int], networks: list[int], loaded: int) -> dict[str, int]:
    """Peak of each phase of a step, and of loading; what does not wait in main memory is there in all of them."""
    resident = sum(sizes[name] for name in ("base", "old", "reference", "trained", "prompts"))
    decoders = 0 if config.backbone.offload else sizes["decoders"]  # where nothing is decoded
    judges = 0 if config.rewards.offload else sum(networks)
    own = sizes["old"] if config.policy.parameters == "lora" else 0  # the policy's adapters go with its network
    moves = config.backbone.offload and networks and not sizes["gathered"]
    leaves = sizes["base"] + sizes["old"] + sizes["reference"] + own if moves else 0
    judging = max(networks, default=0) if config.rewards.offload else judges
    update = sizes["gathered"] + sizes["gradients"] + sizes["activations"]
    return {
        "load": loaded + decoders,
        "sample": resident + sizes["gathered"] + sizes["passing"] + decoders + judges,
        "decode": resident + sizes["decoders"] + sizes["decoding"] + judges,
        "score": resident - leaves + decoders + judging,
        "update": resident + update + decoders + judges,
    }


def _reward_networks(config: Config) -> list[int]:
    """Bytes of each network of rewards on this GPU."""
    here = config.rewards.backend == "local" and config.rewards.device != "cpu"
    return list(network_bytes(config.rewards.reward).values()) if here else []


def _held_out_networks(config: Config) -> list[int]:
    """Bytes of each network of held-out metrics: in this process whatever the backend of rewards is."""
    if not config.run.eval_every or config.rewards.device == "cpu":
        return []
    specs = held_out_specs(config.rewards.reward, config.evaluation.heldout, config.backbone.kind)
    return list(network_bytes(specs).values())


def _gradients_apart(config: Config) -> int:
    """Gradients of single rewards that are kept beside the policy's own."""
    used = [reward for reward in config.rewards.reward if reward.weight != 0]
    if config.arr.enabled and config.arr.kappa:
        return sum(2 if reward.route == "both" else 1 for reward in used)
    return len(used) if config.marble.enabled else 0


def _weights(transformer: nn.Module, size: int, quantize: str) -> int:
    """Bytes of the generator's network; quantised layers take a byte for each weight and a scale for each row."""
    total = _count(transformer)
    if quantize == "none":
        return total * size
    shapes = adapter_shapes(transformer, 1)
    inner = [shape[1] for name, shape in shapes.items() if ".lora_A." in name]
    outer = [shape[0] for name, shape in shapes.items() if ".lora_B." in name]
    eight = sum(math.prod(pair) for pair in zip(inner, outer, strict=True))
    return (total - eight) * size + eight + sum(outer) * size


def adapter_parameters(transformer: nn.Module, rank: int) -> int:
    """Parameters of a LoRA on all attentions and feed-forward layers of both streams."""
    return sum(math.prod(shape) for shape in adapter_shapes(transformer, rank).values())


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


def _decoding(vae: Any, geometry: Geometry, section: BackboneSection) -> int:
    """Values in the largest feature maps of the video decoder for a clip, or for the largest of its tiles."""
    space, time = vae.spatial_compression_ratio, vae.temporal_compression_ratio
    height, width = geometry.height * space, geometry.width * space
    frames = (geometry.frames - 1) * time + 1
    if section.tiling in ("space", "both"):
        height, width = min(height, vae.tile_sample_min_height), min(width, vae.tile_sample_min_width)
    if section.tiling in ("time", "both"):
        frames = min(frames, vae.tile_sample_min_num_frames + 1)
    channels: int = vae.decoder.conv_out.conv.in_channels
    values: int = _DECODER_MAPS * channels * frames * height * width // vae.config.patch_size**2
    return values


def _text_encoder(folder: Path, size: int) -> int:
    """Bytes of the text encoder, which is loaded alone and freed before the other networks; 0 without its file."""
    path = folder / "text_encoder" / "config.json"
    if not path.is_file():
        return 0
    config = transformers.AutoConfig.from_pretrained(path.parent)
    name = json.loads(path.read_text(encoding="utf-8"))["architectures"][0]
    with torch.device("meta"):
        return _count(getattr(transformers, name)(config)) * size


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
