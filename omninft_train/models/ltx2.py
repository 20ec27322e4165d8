"""LTX-2.0, 2.3 and 2.5 from a diffusers pipeline: transformer, prompt conditioning, and decoding to clips in memory."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder, LTX2VocoderWithBWE
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from torch import nn

from omninft_train.errors import EnvironmentProblem, SettingError, UsageError
from omninft_train.models.backbone import Decoded
from omninft_train.models.latents import Condition, Geometry, Latents
from omninft_train.models.ltx2_decoding import Decoders, decode_audio, decode_video
from omninft_train.models.ltx2_prompts import NEGATIVE_PROMPT, PROMPT_TOKENS, TEXT_PARTS, PromptStore, TextOptions
from omninft_train.models.quantize import load_quantized

if TYPE_CHECKING:
    from omninft_train.config import BackboneSection

_CLASSES: dict[str, type[Any]] = {
    network.__name__: network
    for network in (
        LTX2VideoTransformer3DModel,
        AutoencoderKLLTX2Video,
        AutoencoderKLLTX2Audio,
        LTX2Vocoder,
        LTX2VocoderWithBWE,
    )
}
DECODERS = ("vae", "audio_vae", "vocoder")
NETWORKS = ("transformer", *DECODERS)
_SIZED = ("transformer", "vae", "audio_vae")  # that the size of a clip depends on
# Options of a transformer that its identity has always held: those of diffusers 0.42.1.
_HASHED = frozenset(
    """
    activation_fn attention_bias attention_head_dim attention_out_bias audio_attention_head_dim
    audio_cross_attention_dim audio_cross_attn_mod audio_ff_bias audio_gated_attn audio_hop_length audio_in_channels
    audio_num_attention_heads audio_out_channels audio_patch_size audio_patch_size_t audio_pos_embed_max_pos
    audio_sampling_rate audio_scale_factor base_height base_width caption_channels causal_offset cross_attention_dim
    cross_attn_mod cross_attn_timestep_scale_multiplier ff_bias gated_attn in_channels norm_elementwise_affine norm_eps
    num_attention_heads num_layers out_channels patch_size patch_size_t perturbed_attn pos_embed_max_pos qk_norm
    rope_double_precision rope_theta rope_type timestep_scale_multiplier use_keyframes_abs_pos_embedding
    use_prompt_adaln_single use_prompt_embeddings vae_scale_factors
    """.split()  # noqa: SIM905 - a line each would be a page
)
CONFIG_FILES = ("model_index.json", "*/config.json")
ALL_FILES = ("model_index.json", *(f"{part}/*" for part in (*NETWORKS, *TEXT_PARTS)))


class Ltx2Backbone:
    """LTX-2 as something to train; see `Backbone`."""

    kind = "ltx2"

    def __init__(
        self, transformer: nn.Module, decoders: Decoders, prompts: PromptStore, geometry: Geometry, negative: str
    ) -> None:
        self.transformer = transformer
        self.geometry = geometry
        network: Any = transformer  # diffusers types no attribute of its modules
        self.digest = config_digest(network)
        self._decoders = decoders
        self._prompts = prompts
        self._negative = negative

    @classmethod
    def load(
        cls,
        section: BackboneSection,
        device: str,
        *,
        prompts: Sequence[str] = (),
        prompt_tokens: int = PROMPT_TOKENS,
        empty: bool = False,
    ) -> Ltx2Backbone:
        """Load a pipeline in the format of diffusers, each network straight into its number format and onto its device.

        The text encoder is loaded only if prompts are not in the cache yet, and freed before the transformer is loaded.

        Args:
            section: folder or hub id, number formats, size of the clips, tiling and offload, cache, negative prompt.
            prompts: those of the run, encoded now.
            prompt_tokens: length that prompts are padded to.
            empty: build the transformer on the meta device, for `load_policy` or `load_quantized` to fill.

        Raises:
            UsageError: not a pipeline of LTX-2.0, 2.3 or 2.5, or a size that it cannot make.
            EnvironmentProblem: weights are missing.
        """
        folder, dtype = locate(section.path), getattr(torch, section.dtype)
        geometry = clip_geometry(describe(folder, _SIZED), section)
        store = PromptStore(folder, cache_folder(section.cache), TextOptions(device, dtype, prompt_tokens))
        negative = NEGATIVE_PROMPT if section.negative_prompt is None else section.negative_prompt
        store.prepare([negative, *prompts])
        transformer = _built(folder, dtype) if empty else _load_transformer(folder, section, device)
        waits = "cpu" if section.offload else device
        parts = {name: _load(folder, name, network_dtype(name, dtype), waits) for name in DECODERS}
        if section.tiling in ("space", "both"):
            parts["vae"].enable_tiling()
        if section.tiling in ("time", "both"):
            parts["vae"].use_framewise_decoding = True
        return cls(transformer, Decoders(**parts, offload=section.offload), store, geometry, negative)

    def missing(self, prompts: Sequence[str]) -> list[str]:
        """Prompts that are not in the cache."""
        return self._prompts.missing(prompts)

    def condition(self, prompts: Sequence[str]) -> Condition:
        """Conditioning of some prompts, (B, S, D)."""
        return self._prompts.condition(prompts)

    def negative(self) -> Condition:
        """Conditioning (1, S, D) of the negative prompt."""
        return self._prompts.condition([self._negative])

    @torch.no_grad()
    def decode(self, latents: Latents) -> list[Decoded]:
        """Clips of clean latents in model units, one after another to save memory."""
        with self._decoders.at(latents.video.device):
            return [self._decode(latents[index : index + 1]) for index in range(len(latents))]

    def _decode(self, latents: Latents) -> Decoded:
        waveform, rate = decode_audio(latents.audio, self._decoders)
        frames = decode_video(latents.video, self.geometry, self._decoders)
        return Decoded(frames, self.geometry.fps, waveform, rate)


def locate(source: str, files: Sequence[str] = ALL_FILES) -> Path:
    """Folder of a pipeline: itself, or where the files of a hub id lie after a download.

    Args:
        source: a folder, or a hub id.
        files: patterns of what is downloaded.

    Raises:
        UsageError: a folder without model_index.json.
        EnvironmentProblem: the download fails.
    """
    folder = _expanded(source)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(source, allow_patterns=list(files)))
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise EnvironmentProblem(
                f"{source}: neither a folder nor a hub id that can be downloaded ({error}). Download the pipeline, or "
                "set backbone.path to its folder."
            ) from error
    if not (folder / "model_index.json").is_file():
        raise UsageError(f"{folder}: has no model_index.json; expected a pipeline in the format of diffusers.")
    return folder


def cache_folder(configured: str) -> Path:
    """Folder of prompt conditioning: as configured, or one for all runs in the user's cache."""
    if configured:
        return _expanded(configured)
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "omninft-train" / "prompts"


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise EnvironmentProblem(f"{path}: {error} Set HOME, or write the path without ~.") from error


def describe(folder: Path, names: Sequence[str] = NETWORKS) -> dict[str, Any]:
    """The networks of a pipeline without their weights, built on torch's meta device from their configurations.

    Args:
        folder: of the pipeline; the configurations of all its networks are checked.
        names: networks that are built. The vocoder takes seconds, longer than all others together.

    Raises:
        UsageError: a network that is not of LTX-2.0, 2.3 or 2.5.
        EnvironmentProblem: a configuration is missing.
    """
    networks = {}
    for name in NETWORKS:
        path = folder / name / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise EnvironmentProblem(f"{path}: cannot be read ({error}).") from error
        kind = config.get("_class_name")
        if kind not in _CLASSES:
            raise UsageError(f"{path}: {name} is a {kind}; known are {', '.join(_CLASSES)} (LTX-2.0, 2.3 and 2.5).")
        if name in names:
            with torch.device("meta"):
                networks[name] = _CLASSES[kind].from_config(config)
    return networks


def clip_geometry(parts: dict[str, Any], section: BackboneSection) -> Geometry:
    """Sizes in latents of the clips that a configuration asks for.

    Args:
        parts: transformer and autoencoders, as from `describe`.
        section: height, width, frames, fps.

    Raises:
        UsageError: the autoencoder cannot make this size, or the transformer has no positions for it.
    """
    vae, audio_vae, config = parts["vae"], parts["audio_vae"], parts["transformer"].config
    space, time = vae.spatial_compression_ratio, vae.temporal_compression_ratio
    if section.height % space or section.width % space or section.frames % time != 1 % time:
        raise SettingError(
            f"{section.frames} frames of {section.width} x {section.height}: width and height have to be multiples of "
            f"{space}, and frames a multiple of {time} plus 1. Near: {_near(section.frames - 1, time) + 1} frames of "
            f"{_near(section.width, space)} x {_near(section.height, space)}.",
            "backbone.height",
            "backbone.width",
            "backbone.frames",
        )
    if (config.patch_size, config.patch_size_t) != (1, 1) or tuple(config.vae_scale_factors) != (time, space, space):
        raise UsageError(
            f"the transformer expects patches {config.patch_size_t}, {config.patch_size} and a VAE that shrinks by "
            f"{tuple(config.vae_scale_factors)}; expected patches of 1, and this VAE shrinks by {(time, space, space)}."
        )
    audio_rate = audio_vae.config.sample_rate / audio_vae.config.mel_hop_length / audio_vae.temporal_compression_ratio
    geometry = Geometry(
        frames=(section.frames - 1) // time + 1,
        height=section.height // space,
        width=section.width // space,
        audio_frames=round(section.frames / section.fps * audio_rate),
        video_channels=config.in_channels,
        audio_channels=config.audio_in_channels,
        fps=section.fps,
    )
    _check_positions(section, geometry.audio_frames / audio_rate, config)
    return geometry


def _near(value: int, multiple: int) -> int:
    return max(1, round(value / multiple)) * multiple


def _check_positions(section: BackboneSection, audio_seconds: float, config: Any) -> None:
    """The rotary positions run over seconds and pixels up to a largest one; beyond it the network was never trained."""
    limits = (
        ("seconds of video (frames / fps)", section.frames / section.fps, config.pos_embed_max_pos),
        ("seconds of sound", audio_seconds, config.audio_pos_embed_max_pos),
        ("pixels of height", section.height, config.base_height),
        ("pixels of width", section.width, config.base_width),
    )
    for what, value, largest in limits:
        if value > largest:
            raise SettingError(
                f"{value:g} {what}: the positions of this transformer end at {largest:g}. Lower backbone.frames, "
                "height or width, or raise backbone.fps.",
                "backbone.frames",
                "backbone.height",
                "backbone.width",
                "backbone.fps",
            )


def config_digest(network: Any) -> str:
    """Identity of a network's architecture: hash of its configuration, without versions and paths.

    An option that later versions of diffusers add counts only where it is not at its default, as files that do not
    know of it have it: an update in the midst of a run does not change what the run is.
    """
    options = inspect.signature(type(network).__init__).parameters
    content = {
        key: value
        for key, value in network.config.items()
        if not key.startswith("_") and (key in _HASHED or key not in options or value != options[key].default)
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=list).encode()).hexdigest()[:16]


def network_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """Number format of one of `NETWORKS` in a backbone of `dtype`: the vocoder stays in float32.

    The phase of a waveform adds up over hundreds of layers; the authors of LTX-2.3 found that bfloat16 harms its sound.
    """
    return torch.float32 if name == "vocoder" else dtype


def _load_transformer(folder: Path, section: BackboneSection, device: str) -> Any:
    """On its device."""
    dtype = getattr(torch, section.dtype)
    if section.quantize == "none":
        return _load(folder, "transformer", dtype, device)
    network = _built(folder, dtype)
    load_quantized(network, section.quantize, folder / "transformer", device)
    return network


def _built(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The transformer on the meta device."""
    # Not by the method of diffusers, which warns of networks that are partly kept in float32; this one is not.
    network: nn.Module = nn.Module.to(describe(folder, ["transformer"])["transformer"], dtype)
    return network.eval().requires_grad_(False)


def _load(folder: Path, name: str, dtype: torch.dtype, device: str) -> Any:
    """One network, frozen; its weights go from the file to the device one by one, never all in float32."""
    kind = json.loads((folder / name / "config.json").read_text(encoding="utf-8"))["_class_name"]
    try:
        network = _CLASSES[kind].from_pretrained(folder, subfolder=name, torch_dtype=dtype, device_map={"": device})
    except (OSError, ValueError, RuntimeError) as error:
        raise EnvironmentProblem(f"{folder / name}: the weights cannot be loaded ({error}).") from error
    return network.eval().requires_grad_(False)
