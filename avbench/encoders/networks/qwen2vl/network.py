"""Qwen2-VL without its word head, and a reward head read at special tokens. Imports torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from avbench.encoders.base import LoadContext
from avbench.encoders.loading import fill_keyed_random, to_device
from avbench.encoders.networks.qwen2vl.prompts import IMAGE_PAD, SPECIAL, VIDEO_PAD
from avbench.encoders.packing import pack
from avbench.errors import EnvironmentProblem


@dataclass(frozen=True)
class Sizes:
    """Sizes of a Qwen2-VL; what is not named here is the same in all of them."""

    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    sections: tuple[int, int, int] = (16, 24, 24)
    vision_width: int = 1280
    vision_layers: int = 32
    vision_heads: int = 16


QWEN2_VL_2B = Sizes(1536, 8960, 28, 12, 2)
QWEN2_VL_7B = Sizes(3584, 18944, 28, 28, 4)
REDUCED = Sizes(32, 48, 2, 2, 1, sections=(2, 3, 3), vision_width=32, vision_layers=2, vision_heads=2)

_TEXT_THETA = 1_000_000.0
_VISION_THETA = 10_000.0
# On a CPU, larger tensors than these make (2,048 x 5,120 numbers) are given back to the system after each use.
_PATCHES_ON_CPU = 2048
_PATCHES_ON_GPU = 16384


def text_settings(sizes: Sizes) -> dict[str, Any]:
    """Settings of the language part, by the names in config.json."""
    return {
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.inner,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_heads,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "use_sliding_window": False,
    }


def vision_settings(sizes: Sizes) -> dict[str, Any]:
    """Settings of the image part, by the names in config.json."""
    return {
        "depth": sizes.vision_layers,
        "embed_dim": sizes.vision_width,
        "num_heads": sizes.vision_heads,
        "hidden_size": sizes.hidden,
        "mlp_ratio": 4,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }


def check_config(path: Path, sizes: Sizes) -> None:
    """Compare a checkpoint's config.json with the sizes in use; shapes do not tell heads, norms and frequencies.

    Raises:
        EnvironmentProblem: a setting has another value.
    """
    given = json.loads(path.read_text(encoding="utf-8"))
    expected = text_settings(sizes) | {
        "rope_theta": _TEXT_THETA,
        "image_token_id": SPECIAL[IMAGE_PAD],
        "video_token_id": SPECIAL[VIDEO_PAD],
    }
    pairs = [(key, given.get(key, value), value) for key, value in expected.items()]
    vision = given.get("vision_config", {})
    pairs += [(key, vision.get(key, value), value) for key, value in vision_settings(sizes).items()]
    if wrong := [f"{key} {actual}, expected {value}" for key, actual, value in pairs if actual != value]:
        raise EnvironmentProblem(f"{path} describes another network: {'; '.join(wrong)}.")


def _frequencies(theta: float, dim: int, device: torch.device) -> Tensor:
    """Rotary frequencies (dim / 2,) in bfloat16.

    The judges were trained, and are used by their authors, with these rounded to bfloat16 along with the weights, so
    that is what their numbers mean at any precision.
    """
    exponents = torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim
    return (1.0 / theta**exponents).bfloat16()


class TextRotary(nn.Module):
    """Rotary tables of the language part for positions that count tokens, text and image alike.

    Qwen2-VL itself gives image tokens positions in three dimensions. The judges do not: their forward leaves the
    positions out, and the language part then counts.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (1, L, D) for `position_ids` (3, B, L), whose rows are equal."""
        angles = position_ids[0, :1, :, None].float() * _frequencies(_TEXT_THETA, self.dim, x.device).float()
        angles = torch.cat([angles, angles], dim=-1)  # (1, L, D)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class VisionRotary(nn.Module):
    """Rotary tables of the image part; angles, too, are rounded to bfloat16, as in training."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (N, D) for `position_ids` (N, 2): row and column of each patch."""
        angles = position_ids[..., None].bfloat16() * _frequencies(_VISION_THETA, self.dim // 2, x.device)
        both = angles.flatten(1)  # (N, D / 2)
        both = torch.cat([both, both], dim=-1)
        return both.cos(), both.sin()


class RewardNetwork(nn.Module):
    """Entries are named as in published checkpoints: `visual.`, `model.`, `rm_head.`; `lm_head` has no use here.

    Transformers 5 itself would call them `model.visual.`, `model.language_model.`.
    """

    def __init__(self, sizes: Sizes, vocabulary: int, head: Callable[[int], nn.Module]) -> None:
        super().__init__()
        from transformers.models.qwen2_vl import Qwen2VLTextConfig
        from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
        from transformers.models.qwen2_vl.modeling_qwen2_vl import (
            Qwen2VisionTransformerPretrainedModel,
            Qwen2VLTextModel,
        )

        rope = {"rope_type": "default", "rope_theta": _TEXT_THETA, "mrope_section": list(sizes.sections)}
        text = Qwen2VLTextConfig(vocab_size=vocabulary, use_cache=False, rope_parameters=rope, **text_settings(sizes))
        self.visual = Qwen2VisionTransformerPretrainedModel(Qwen2VLVisionConfig(**vision_settings(sizes)))
        self.model = Qwen2VLTextModel(text)
        self.visual.register_module("rotary_pos_emb", VisionRotary(sizes.vision_width // sizes.vision_heads))
        self.model.register_module("rotary_emb", TextRotary(sizes.hidden // sizes.heads))
        self.rm_head = head(sizes.hidden)

    def forward(self, ids: Tensor, patches: Tensor, grids: Tensor, pad: int) -> Tensor:
        """Hidden states (B, L, D) of conversations of one length.

        Args:
            ids: token ids (B, L).
            patches: (N, 1176) float, normalised, of all images or videos in order.
            grids: (B, 3) steps, rows and columns of patches of each.
            pad: id of the token that stands for a piece of image.
        """
        pieces = self._see(patches.to(self.visual.dtype), grids)  # (N / 4, D)
        words = self.model.embed_tokens(ids)
        words = words.masked_scatter((ids == pad)[..., None], pieces.to(words.dtype))
        positions = torch.arange(ids.shape[1], device=ids.device).expand(3, *ids.shape)
        hidden: Tensor = self.model(inputs_embeds=words, position_ids=positions, use_cache=False).last_hidden_state
        return hidden

    def _see(self, patches: Tensor, grids: Tensor) -> Tensor:
        """Pieces of image (N / 4, D), some steps at a time: patches of different steps do not see each other."""
        steps = grids.repeat_interleave(grids[:, 0], dim=0)  # (steps, 3)
        steps[:, 0] = 1
        patches_at_once = _PATCHES_ON_CPU if patches.device.type == "cpu" else _PATCHES_ON_GPU
        at_once = max(1, patches_at_once // int(steps[0].prod()))
        parts = torch.split(steps, at_once)
        counts = [int(part.prod(dim=1).sum()) for part in parts]
        seen = zip(torch.split(patches, counts), parts, strict=True)
        return torch.cat([self.visual(part, grid_thw=grid).pooler_output for part, grid in seen])

    def rewards(self, hidden: Tensor, ids: Tensor, first: int, count: int) -> Tensor:
        """Outputs of the head at `count` special tokens with ids from `first`: (B, count, K), in float32.

        Raises:
            ValueError: a conversation does not hold each of them once.
        """
        wanted = torch.arange(first, first + count, device=ids.device)
        matches = ids[:, None, :] == wanted[:, None]  # (B, count, L)
        if not (matches.sum(-1) == 1).all():
            raise ValueError("the prompt holds a token that is reserved for the judge")
        at = matches.int().argmax(-1)  # (B, count)
        chosen = hidden[torch.arange(len(ids), device=ids.device)[:, None], at]
        result: Tensor = self.rm_head(chosen.float())
        return result


def build(sizes: Sizes, vocabulary: int, head: Callable[[int], nn.Module]) -> RewardNetwork:
    """The network without memory for its entries, to be filled by a checkpoint or by `fill_at_random`.

    Args:
        sizes: sizes of the network.
        vocabulary: entries of the table of words.
        head: width of the hidden states -> the reward head.
    """
    with torch.device("meta"):
        return RewardNetwork(sizes, vocabulary, head)


def fill_at_random(network: RewardNetwork) -> None:
    """Keyed-random weights, large enough that the answers depend on the image."""
    network.to_empty(device="cpu")
    for entry in network.state_dict().values():
        entry.zero_()  # memory may hold NaN, and entries with NaN are left alone
    fill_keyed_random(network, he=True)


def ready(network: RewardNetwork, context: LoadContext) -> RewardNetwork:
    """The network on its device and at its precision; the head, a few numbers per clip, stays in float32."""
    to_device(network, context)
    network.rm_head.float()
    pack(network.visual)
    pack(network.model)
    return network
