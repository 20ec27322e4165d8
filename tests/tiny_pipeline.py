"""A tiny LTX-2 pipeline with random weights: every component of its real class, saved as diffusers saves one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder, LTX2VocoderWithBWE
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma4UnifiedConfig,
    Gemma4UnifiedForConditionalGeneration,
    GemmaTokenizer,
    PreTrainedModel,
)

from omninft_train.config import BackboneSection
from omninft_train.models.ltx2 import Ltx2Backbone

Version = Literal["2.0", "2.3", "2.5"]

HIDDEN, LAYERS = 16, 2
LETTERS = "abcdefghijklmnopqrstuvwxyz▁,.'-"
# Of clips that the tiny pipeline makes in moments; 2 x 2 x 3 video tokens, 9 audio tokens.
SIZE: dict[str, Any] = {"height": 64, "width": 96, "frames": 9, "fps": 24.0}
PROMPT_TOKENS = 16
# In full size LTX-2.0 is what the classes default to, but for the VAE's ratios; what newer versions change is what
# diffusers' conversion scripts/convert_ltx2_to_diffusers.py sets (58eb52c0).
FULL_SIZE: dict[str, dict[str, Any]] = {
    "transformer": {"_class_name": "LTX2VideoTransformer3DModel", "rope_type": "split"},
    "vae": {
        "_class_name": "AutoencoderKLLTX2Video",
        "spatial_compression_ratio": 32,
        "temporal_compression_ratio": 8,
    },
    "audio_vae": {"_class_name": "AutoencoderKLLTX2Audio"},
    "vocoder": {"_class_name": "LTX2Vocoder"},
}
_NEWER: dict[str, dict[str, Any]] = {
    "transformer": dict.fromkeys(
        ("gated_attn", "cross_attn_mod", "audio_gated_attn", "audio_cross_attn_mod", "perturbed_attn"), True
    )
    | {"use_prompt_embeddings": False},
    "vae": {
        "block_out_channels": [256, 512, 1024, 1024],
        "decoder_block_out_channels": [256, 512, 512, 1024],
        "layers_per_block": [4, 6, 4, 2, 2],
        "decoder_layers_per_block": [4, 6, 4, 2, 2],
        "decoder_spatio_temporal_scaling": [True] * 4,
        "decoder_inject_noise": [False] * 5,
        "upsample_type": ["spatiotemporal", "spatiotemporal", "temporal", "spatial"],
        "upsample_residual": [False] * 4,
        "upsample_factor": [2, 2, 1, 2],
        "decoder_spatial_padding_mode": "zeros",
    },
    "audio_vae": {},
    "vocoder": {"_class_name": "LTX2VocoderWithBWE"},
}
_NEWEST: dict[str, Any] = {"ff_bias": False, "use_keyframes_abs_pos_embedding": True}


def save_full_size_configs(folder: Path, version: Version = "2.0") -> Path:
    """The files that say how large the components of LTX-2 are, without weights."""
    folder.mkdir(exist_ok=True)
    (folder / "model_index.json").write_text("{}")
    for name, content in FULL_SIZE.items():
        newer = {} if version == "2.0" else _NEWER[name]
        newest = _NEWEST if version == "2.5" and name == "transformer" else {}
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(content | newer | newest))
    return folder


def save_tiny_pipeline(folder: Path, version: Version = "2.0", *, timestep_conditioning: bool = False) -> Path:
    """Build the pipeline and save it; equal arguments give equal weights."""
    build_tiny_pipeline(version, timestep_conditioning=timestep_conditioning).save_pretrained(folder)
    return folder


def tiny_section(folder: Path, cache: Path, **changes: Any) -> BackboneSection:
    """Configuration of the tiny pipeline on the CPU, with changes."""
    base = BackboneSection(kind="ltx2", path=str(folder), dtype="float32", cache=str(cache), **SIZE)
    return replace(base, **changes)


def load_tiny(folder: Path, cache: Path, **changes: Any) -> Ltx2Backbone:
    """The tiny pipeline as a backbone."""
    return Ltx2Backbone.load(tiny_section(folder, cache, **changes), "cpu", prompt_tokens=PROMPT_TOKENS)


def build_tiny_pipeline(version: Version = "2.0", *, timestep_conditioning: bool = False) -> LTX2Pipeline:
    """The pipeline in memory, float32."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        pipeline = LTX2Pipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=False),
            vae=_video_vae(timestep_conditioning),
            audio_vae=_audio_vae(),
            text_encoder=_text_encoder(version),
            tokenizer=_tokenizer(),
            connectors=_connectors(version),
            transformer=_transformer(version),
            vocoder=_vocoder(version),
        )
    for part in ("vae", "audio_vae", "text_encoder", "connectors", "transformer", "vocoder"):
        getattr(pipeline, part).eval()
    return pipeline


def _transformer(version: Version) -> LTX2VideoTransformer3DModel:
    newer: dict[str, Any] = {}
    if version != "2.0":
        gates = dict.fromkeys(("gated_attn", "cross_attn_mod", "audio_gated_attn", "audio_cross_attn_mod"), True)
        newer = gates | {"use_prompt_embeddings": False, "perturbed_attn": True}
    if version == "2.5":
        newer |= _NEWEST
    network = LTX2VideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=8,
        audio_out_channels=8,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=2,
        caption_channels=HIDDEN,
        rope_type="split",
        **newer,
    )
    _spread(network)
    return network


def _spread(network: torch.nn.Module) -> None:
    """Weights at which text and noise level change the output; the classes start some of them at zero."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.7 / parameter.shape[-1] ** 0.5)


def _video_vae(timestep_conditioning: bool) -> AutoencoderKLLTX2Video:
    vae = AutoencoderKLLTX2Video(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(4, 4, 4),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        upsample_residual=(False, False, False),
        upsample_factor=(1, 1, 1),
        timestep_conditioning=timestep_conditioning,
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )
    vae.latents_mean.copy_(torch.randn(8) * 0.1)
    vae.latents_std.copy_(1 + torch.rand(8))
    return vae


def _audio_vae() -> AutoencoderKLLTX2Audio:
    vae = AutoencoderKLLTX2Audio(
        base_channels=8, ch_mult=(1, 1, 1), num_res_blocks=1, latent_channels=4, mel_bins=8, resolution=32
    )
    vae.latents_mean.copy_(torch.randn(8) * 0.1)
    vae.latents_std.copy_(1 + torch.rand(8))
    return vae


def _vocoder(version: Version) -> LTX2Vocoder | LTX2VocoderWithBWE:
    # Of each kind of layer fewer than are published: to build and load hundreds of them takes seconds.
    few: dict[str, Any] = {"resnet_kernel_sizes": [3, 7], "resnet_dilations": [[1], [3]]}
    if version == "2.0":
        return LTX2Vocoder(in_channels=16, hidden_channels=32, **few)
    sizes = {"in_channels": 16, "hidden_channels": 64, "bwe_in_channels": 16, "bwe_hidden_channels": 32}
    few |= {f"bwe_{name}": value for name, value in few.items()}
    vocoder = LTX2VocoderWithBWE(**sizes, **few, num_mel_channels=8)
    for buffer in (vocoder.mel_stft.stft_fn.forward_basis, vocoder.mel_stft.mel_basis):
        buffer.copy_(torch.rand_like(buffer) * 0.01)
    return vocoder


def _connectors(version: Version) -> LTX2TextConnectors:
    newer: dict[str, Any] = {}
    if version != "2.0":
        newer = {"per_modality_projections": True, "video_hidden_dim": 16, "audio_hidden_dim": 8}
        newer |= {"video_gated_attn": True, "audio_gated_attn": True}
    return LTX2TextConnectors(
        caption_channels=HIDDEN,
        text_proj_in_factor=LAYERS + 1,
        video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=8,
        audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=8 if version == "2.0" else 4,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=8,
        rope_type="split",
        **newer,
    )


def _text_encoder(version: Version) -> PreTrainedModel:
    text = {
        "vocab_size": 5 + len(LETTERS),
        "hidden_size": HIDDEN,
        "intermediate_size": 32,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 128,
    }
    if version == "2.5":
        layers = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16, "global_head_dim": 8}
        return Gemma4UnifiedForConditionalGeneration(Gemma4UnifiedConfig(text_config=text | layers))
    vision = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 8,
        "patch_size": 4,
    }
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=1, image_token_index=4)
    return Gemma3ForConditionalGeneration(config)


def _tokenizer() -> GemmaTokenizer:
    """One token per letter."""
    special = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    return GemmaTokenizer(vocab={token: index for index, token in enumerate((*special, *LETTERS))}, merges=[])
