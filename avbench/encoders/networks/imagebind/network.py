"""The ImageBind network for video, audio and text, under the key names of its checkpoint.

The checkpoint's branches for depth, thermal images and motion sensors are left out: no metric uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avbench.encoders.attention import attend
from avbench.encoders.base import LoadContext
from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
from avbench.encoders.networks.imagebind.encoders import TOKENS
from avbench.encoders.packing import linear, pack, packed
from avbench.errors import EnvironmentProblem
from avbench.weights.locate import files

VOCABULARY = 49408
MEL_BINS = 128
MEL_FRAMES = 204
_PATCH = 14
_PATCHES = 16 * 16
_AUDIO_PATCH = 16
_AUDIO_STRIDE = 10
_AUDIO_PATCHES = 12 * 19
_MAX_SCALE = 100.0
_EPS = 1e-6

_PARTS = ("modality_preprocessors", "modality_trunks", "modality_heads", "modality_postprocessors")
_UNUSED = ("depth", "thermal", "imu")


@dataclass(frozen=True)
class TrunkSize:
    """Width, number of blocks and attention heads of one trunk."""

    width: int
    blocks: int
    heads: int


@dataclass(frozen=True)
class Sizes:
    """Sizes of the three trunks and of the embedding."""

    vision: TrunkSize
    text: TrunkSize
    audio: TrunkSize
    out: int


HUGE = Sizes(TrunkSize(1280, 32, 16), TrunkSize(1024, 24, 16), TrunkSize(768, 12, 12), 1024)
REDUCED = Sizes(TrunkSize(64, 2, 4), TrunkSize(48, 2, 4), TrunkSize(48, 2, 4), 32)


class Attention(nn.Module):
    """Self-attention; with `bias_kv`, one learned key and value is attended to beside the tokens."""

    def __init__(self, width: int, heads: int, *, bias_kv: bool) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.bias_k = nn.Parameter(torch.zeros(1, 1, width)) if bias_kv else None
        self.bias_v = nn.Parameter(torch.zeros(1, 1, width)) if bias_kv else None

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        query, key, value = linear(tokens, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        return self._mix(query, key, value, mask)

    def first(self, tokens: Tensor) -> Tensor:
        """Attention output of the first token alone: (B, L, D) -> (B, 1, D)."""
        query, key, value = linear(tokens, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        return self._mix(query[:, :1], key, value, None)

    def pack(self) -> None:
        """Bring the joint projection into the CPU's order; the other layers are plain ones."""
        self.in_proj_weight = packed(self.in_proj_weight)

    def _mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        if self.bias_k is not None and self.bias_v is not None:
            key = torch.cat([key, self.bias_k.expand(len(key), -1, -1)], dim=1)  # (B, L + 1, D)
            value = torch.cat([value, self.bias_v.expand(len(value), -1, -1)], dim=1)
        query, key, value = (self._by_head(part) for part in (query, key, value))  # (B, heads, L, D / heads)
        mixed = attend(query, key, value, mask)
        return torch.as_tensor(self.out_proj(mixed.transpose(1, 2).flatten(2)))

    def _by_head(self, part: Tensor) -> Tensor:
        return part.reshape(*part.shape[:2], self.heads, -1).transpose(1, 2)


class Block(nn.Module):
    """One transformer block, normalised before attention and before the two-layer network."""

    def __init__(self, width: int, heads: int, *, bias_kv: bool) -> None:
        super().__init__()
        self.attn = Attention(width, heads, bias_kv=bias_kv)
        self.norm_1 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.norm_2 = nn.LayerNorm(width, eps=_EPS)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        return self._perceive(tokens + self.attn(self.norm_1(tokens), mask))

    def first(self, tokens: Tensor) -> Tensor:
        """Only the first token of the output: (B, L, D) -> (B, 1, D)."""
        return self._perceive(tokens[:, :1] + self.attn.first(self.norm_1(tokens)))

    def _perceive(self, tokens: Tensor) -> Tensor:
        return torch.as_tensor(tokens + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm_2(tokens)))))


class Trunk(nn.Module):
    """A stack of blocks; the one for images normalises its input first."""

    def __init__(self, size: TrunkSize, *, norm_first: bool = False, bias_kv: bool = False) -> None:
        super().__init__()
        self.pre_transformer_layer = nn.Sequential(*([nn.LayerNorm(size.width, eps=_EPS)] if norm_first else []))
        self.blocks = nn.ModuleList(Block(size.width, size.heads, bias_kv=bias_kv) for _ in range(size.blocks))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        tokens = self.pre_transformer_layer(tokens)
        for block in self.blocks:
            tokens = block(tokens, mask)
        return tokens

    def first(self, tokens: Tensor) -> Tensor:
        """The class token (B, D) after all blocks; the last one computes no other."""
        tokens = self.pre_transformer_layer(tokens)
        for block in self.blocks[:-1]:
            tokens = block(tokens, None)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        return last.first(tokens)[:, 0]


class _PatchStem(nn.Module):
    """What images and sounds have in common: a class token before the patches, and positions."""

    def __init__(self, width: int, patches: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embedding_helper = nn.ParameterDict({"pos_embed": nn.Parameter(torch.zeros(1, 1 + patches, width))})

    def _with_class_token(self, patches: Tensor) -> Tensor:
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return torch.as_tensor(tokens + self.pos_embedding_helper["pos_embed"])


class ImageStem(_PatchStem):
    """Patches of 14 x 14 pixels x 2 frames."""

    def __init__(self, width: int) -> None:
        super().__init__(width, _PATCHES)
        kernel = (2, _PATCH, _PATCH)
        # Position 0 repeats stills in the original; see `forward`.
        self.rgbt_stem = nn.ModuleDict(
            {"proj": nn.Sequential(nn.Identity(), nn.Conv3d(3, width, kernel, stride=kernel, bias=False))}
        )

    def forward(self, images: Tensor) -> Tensor:
        """Pairs (B, 3, 2, 224, 224) or stills (B, 3, 224, 224) -> (B, 257, D)."""
        weight = self.get_parameter("rgbt_stem.proj.1.weight")
        if images.ndim == 4:
            # A still is a pair of equal frames: both time taps see the same pixels, so one tap with their sum does.
            patches = F.conv2d(images, weight.sum(dim=2), stride=_PATCH)
        else:
            patches = F.conv3d(images, weight, stride=(2, _PATCH, _PATCH))
        return self._with_class_token(patches.flatten(2).transpose(1, 2))


class AudioStem(_PatchStem):
    """Overlapping patches of 16 x 16 in a log-mel spectrogram."""

    def __init__(self, width: int) -> None:
        super().__init__(width, _AUDIO_PATCHES)
        self.rgbt_stem = nn.ModuleDict(
            {
                "proj": nn.Conv2d(1, width, _AUDIO_PATCH, stride=_AUDIO_STRIDE, bias=False),
                "norm_layer": nn.LayerNorm(width),
            }
        )

    def forward(self, mels: Tensor) -> Tensor:
        """(B, 1, 128, 204) -> (B, 229, D)."""
        patches = self.rgbt_stem["proj"](mels).flatten(2).transpose(1, 2)
        return self._with_class_token(self.rgbt_stem["norm_layer"](patches))


class TextStem(nn.Module):
    """Token and position embeddings, and the causal mask, which the checkpoint holds as well."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(VOCABULARY, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, TOKENS, width))
        self.register_buffer("mask", torch.full((TOKENS, TOKENS), float("-inf")).triu(1))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, 77) -> (B, 77, D)."""
        return torch.as_tensor(self.token_embedding(tokens) + self.pos_embed)


class LogScale(nn.Module):
    """Multiplies by exp of a stored number, at most 100."""

    def __init__(self) -> None:
        super().__init__()
        self.log_logit_scale = nn.Parameter(torch.zeros(()))

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        return embedding * self.log_logit_scale.float().exp().clamp(max=_MAX_SCALE)


def _project(width: int, out: int, *, gap: bool) -> nn.Sequential:
    """Normalise and project; with `gap`, an index between them is left out, as in the checkpoint."""
    norm, linear = nn.LayerNorm(width, eps=_EPS), nn.Linear(width, out, bias=False)
    return nn.Sequential(norm, nn.Identity(), linear) if gap else nn.Sequential(norm, linear)


class ImageBind(nn.Module):
    """Embeds images, sounds and texts; every output is float32 (B, D)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        vision, text, audio, out = sizes.vision, sizes.text, sizes.audio, sizes.out
        self.modality_preprocessors = nn.ModuleDict(
            {"vision": ImageStem(vision.width), "text": TextStem(text.width), "audio": AudioStem(audio.width)}
        )
        self.modality_trunks = nn.ModuleDict(
            {"vision": Trunk(vision, norm_first=True), "text": Trunk(text), "audio": Trunk(audio, bias_kv=True)}
        )
        self.modality_heads = nn.ModuleDict(
            {
                "vision": _project(vision.width, out, gap=True),
                "text": nn.ModuleDict({"proj": _project(text.width, out, gap=False)}),
                "audio": _project(audio.width, out, gap=True),
            }
        )
        self.modality_postprocessors = nn.ModuleDict(
            {name: nn.Sequential(nn.Identity(), LogScale()) for name in ("text", "audio")}
        )

    @property
    def device_and_dtype(self) -> tuple[torch.device, torch.dtype]:
        """Where inputs go, and in which number format."""
        weight = self.get_parameter("modality_preprocessors.vision.cls_token")
        return weight.device, weight.dtype

    def embed_images(self, images: Tensor) -> Tensor:
        """Normalised pairs (B, 3, 2, 224, 224) or stills (B, 3, 224, 224) -> unit vectors (B, D)."""
        token = self._class_token("vision", images)
        return _unit(self.modality_heads["vision"](token))

    def embed_mels(self, mels: Tensor) -> Tensor:
        """Normalised log-mel spectrograms (B, 1, 128, 204) -> (B, D), all of one length."""
        token = self._class_token("audio", mels)
        return torch.as_tensor(self.modality_postprocessors["audio"](_unit(self.modality_heads["audio"](token))))

    def _class_token(self, modality: str, inputs: Tensor) -> Tensor:
        trunk = self.modality_trunks[modality]
        assert isinstance(trunk, Trunk)
        return trunk.first(self.modality_preprocessors[modality](inputs))

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Token ids (B, 77) -> (B, D), all of one length, read at the highest id: the end token where there is one."""
        mask = self.get_buffer("modality_preprocessors.text.mask")
        states = self.modality_trunks["text"](self.modality_preprocessors["text"](tokens), mask)
        chosen = states[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=-1)]  # (B, D)
        unit = _unit(self.get_submodule("modality_heads.text.proj")(chosen))
        return torch.as_tensor(self.modality_postprocessors["text"](unit))


def _unit(embedding: Tensor) -> Tensor:
    return F.normalize(embedding.float(), dim=-1)


def without_unused(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The checkpoint less its branches for depth, thermal images and motion sensors.

    Raises:
        EnvironmentProblem: a branch is not there, so this is another file.
    """
    kept = dict(state)
    for branch in _UNUSED:
        entries = [key for key in state if key.startswith(tuple(f"{part}.{branch}." for part in _PARTS))]
        if not entries:
            raise EnvironmentProblem(
                f"{path} holds no {branch} branch, so it is not ImageBind's checkpoint. "
                "Get it again with 'avbench models pull imagebind_huge'."
            )
        for key in entries:
            del kept[key]
    return kept


def load(context: LoadContext) -> nn.Module:
    """The network with its weights on the device of `context`.

    Raises:
        EnvironmentProblem: the checkpoint is missing or does not fit.
    """
    if context.setup.is_test:
        network = ImageBind(REDUCED if context.setup.reduced else HUGE)
        fill_keyed_random(network)
        return _ready(network, context)
    with torch.device("meta"):
        network = ImageBind(HUGE)
    path = files("imagebind_huge", context.setup)["imagebind_huge.pth"]
    load_strict(network, without_unused(read_state_dict(path), path), path)
    return _ready(network, context)


def _ready(network: ImageBind, context: LoadContext) -> nn.Module:
    to_device(network, context)
    pack(network)
    for part in network.modules():
        if isinstance(part, Attention):
            part.pack()
    return network
