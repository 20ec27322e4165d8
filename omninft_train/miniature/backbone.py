"""The miniature as a generator: diffusers' LTX-2 transformer at small size, word embedding and fixed codec."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from omninft_train.errors import EnvironmentProblem, UsageError, near
from omninft_train.miniature.words import FEATURES
from omninft_train.miniature.worlds import WORLDS
from omninft_train.models.backbone import Decoded
from omninft_train.models.latents import Condition, Geometry, Latents

WEIGHTS, META = "transformer.safetensors", "meta.json"


@dataclass(frozen=True)
class Size:
    """Size of the miniature's network.

    Attributes:
        blocks: depth.
        heads: of every attention, in both streams.
        video_width, audio_width: features of a token in the network; multiples of 2 x heads.
    """

    blocks: int = 4
    heads: int = 2
    video_width: int = 64
    audio_width: int = 64

    def __post_init__(self) -> None:
        for name, count in (("blocks", self.blocks), ("heads", self.heads)):
            if count < 1:
                raise UsageError(f"{name} = {count}: must be at least 1.")
        for name, width in (("video_width", self.video_width), ("audio_width", self.audio_width)):
            if width < 1 or width % (2 * self.heads):
                raise UsageError(f"{name} = {width}: must be a multiple of 2 x heads = {2 * self.heads}.")


def transformer_config(size: Size, world: str = "miniature") -> dict[str, Any]:
    """The LTX-2 configuration of a size, for the latents of a world.

    One video token lasts one frame, and positions in time are seconds, as in LTX-2, in a range that the clip fills.
    """
    geometry = WORLDS[world].codec.geometry
    audio_rate = 16_000
    return {
        "in_channels": geometry.video_channels,
        "out_channels": geometry.video_channels,
        "num_attention_heads": size.heads,
        "attention_head_dim": size.video_width // size.heads,
        "cross_attention_dim": size.video_width,
        "vae_scale_factors": (1, 1, 1),
        "pos_embed_max_pos": _RANGE,
        "base_height": geometry.height,
        "base_width": geometry.width,
        "audio_in_channels": geometry.audio_channels,
        "audio_out_channels": geometry.audio_channels,
        "audio_num_attention_heads": size.heads,
        "audio_attention_head_dim": size.audio_width // size.heads,
        "audio_cross_attention_dim": size.audio_width,
        "audio_scale_factor": 1,
        "audio_pos_embed_max_pos": _RANGE,
        "audio_sampling_rate": audio_rate,
        "audio_hop_length": int(audio_rate * (geometry.frames / geometry.fps) / geometry.audio_frames),
        "num_layers": size.blocks,
        "caption_channels": FEATURES,
        "rope_type": "split",
        "rope_theta": 30.0,
    }


_RANGE = 2  # seconds, at least the length of a clip


class MiniatureBackbone:
    """One generator, see `omninft_train.models.backbone.Backbone`.

    Args:
        transformer: of the configuration of a `Size` and the world.
        digest: identity of architecture and pretraining.
        device: where it runs; a transformer without memory, on the meta device, stays there.
        world: name of what it generates, see `worlds`.
    """

    def __init__(
        self, transformer: nn.Module, digest: str, device: torch.device | str = "cpu", world: str = "miniature"
    ) -> None:
        empty = next(transformer.parameters()).is_meta
        self.transformer = (transformer if empty else transformer.to(device)).eval()
        self.digest = digest
        self.kind = world
        self.world = WORLDS[world]
        self.geometry: Geometry = self.world.codec.geometry
        self._device = torch.device(device)
        self._known: dict[str, Condition] = {}

    @classmethod
    def untrained(cls, size: Size = Size(), seed: int = 0, world: str = "miniature") -> MiniatureBackbone:
        """Random weights of a seed, to begin pretraining with."""
        return cls(build_transformer(size, seed, world), architecture_digest(size, world), world=world)

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu", *, empty: bool = False) -> MiniatureBackbone:
        """The outcome of a pretraining.

        Args:
            folder: of the pretraining.
            device: where it runs.
            empty: build the transformer on the meta device, for `load_policy` to fill.

        Raises:
            UsageError: no finished pretraining in the folder, or one of another version of the world.
            EnvironmentProblem: its weights cannot be read.
        """
        meta = read_meta(folder)
        world = meta.get("world", "miniature")  # older pretrainings know one world
        if world not in WORLDS:
            raise UsageError(f"{folder / META}: unknown world {world!r}. {near(str(world), WORLDS)}")
        try:
            size = Size(**meta["size"])
        except TypeError as error:
            raise UsageError(f"{folder / META}: size {meta['size']!r} is none ({error}). Pretrain again.") from error
        if meta["architecture"] != (now := architecture_digest(size, world)):
            raise UsageError(
                f"{folder}: pretrained in another version of the miniature world (digest {meta['architecture']}, "
                f"now {now}). Pretrain again in an empty folder."
            )
        with torch.device("meta") if empty else nullcontext():
            transformer = build_transformer(size, 0, world)
        try:
            # A pretraining of an older version states no checksum.
            if meta.get("weights_sha256", digest := weights_digest(folder)) != digest:
                raise EnvironmentProblem(f"{folder / WEIGHTS}: is damaged (its checksum differs). Pretrain again.")
            if not empty:
                transformer.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = str(error).partition("\n")[0]
            raise EnvironmentProblem(f"{folder / WEIGHTS}: cannot be read ({reason}). Pretrain again.") from error
        return cls(transformer, meta["digest"], device, world)

    def missing(self, prompts: Sequence[str]) -> list[str]:
        """None: words are looked up."""
        return []

    def condition(self, prompts: Sequence[str]) -> Condition:
        """Conditioning of some prompts, (B, S, D).

        Raises:
            UsageError: a word that the world does not have, or too many of them.
        """
        for prompt in set(prompts) - self._known.keys():
            words = self.world.embed([prompt])
            self._known[prompt] = Condition(words.video.to(self._device), words.audio.to(self._device))
        return Condition.cat([self._known[prompt] for prompt in prompts])

    def negative(self) -> Condition:
        """Conditioning (1, S, D) of the empty prompt."""
        return self.condition([""])

    def decode(self, latents: Latents) -> list[Decoded]:
        """Clips of clean latents in model units."""
        return self.world.codec.decode(latents)


def build_transformer(size: Size, seed: int, world: str = "miniature") -> Any:
    """A network with random weights that follow from the seed alone."""
    from diffusers import LTX2VideoTransformer3DModel

    make: Any = LTX2VideoTransformer3DModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(**transformer_config(size, world))


def architecture_digest(size: Size, world: str = "miniature") -> str:
    """Identity of a network's shape and of what its latents mean."""
    content = json.dumps({"world": WORLDS[world].identity, "config": transformer_config(size, world)}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def weights_digest(folder: Path) -> str:
    """SHA-256 of a pretraining's weights."""
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_meta(folder: Path) -> dict[str, Any]:
    """Content of a finished pretraining's meta.json.

    Raises:
        UsageError: there is none in the folder.
    """
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder}: no pretrained miniature ({META}: {error}). Name the folder of a pretraining in backbone.path."
        ) from error
    for key in ("architecture", "digest", "size"):
        if not isinstance(meta, dict) or key not in meta:
            raise UsageError(f"{folder / META}: '{key}' is missing; not a file of this program. Pretrain again.")
    return meta
