from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import transformers
from diffusers import LTX2Pipeline
from tiny_pipeline import PROMPT_TOKENS, SIZE, load_tiny, save_tiny_pipeline, tiny_section
from torch import Tensor

from omninft_train.clips import save_mp4
from omninft_train.errors import EnvironmentProblem, UsageError
from omninft_train.models.latents import Condition, Latents
from omninft_train.models.ltx2 import Ltx2Backbone, locate
from omninft_train.models.ltx2_prompts import NEGATIVE_PROMPT, PromptStore, TextOptions
from omninft_train.models.velocity import predict
from omninft_train.models.velocity import version as network_version
from omninft_train.training.rollout import Guidance, rollout_seed, sample

OFF = Guidance(video=1.0, audio=1.0, stg=0.0, stg_blocks=())
LEVELS = [1.0, 0.9, 0.7, 0.4, 0.1, 0.0]
PROMPT, OTHER = "a dog barks", "rain on a tin roof"
VERSIONS = (pytest.param("2.0", marks=pytest.mark.long), "2.3", pytest.param("2.5", marks=pytest.mark.long))


@dataclass(frozen=True)
class Direct:
    """The transformer itself as all three policies."""

    backbone: Ltx2Backbone

    def velocity(
        self, role: str, x: Latents, t: Tensor, condition: Condition, *, skip_blocks: tuple[int, ...] = ()
    ) -> Latents:
        geometry = self.backbone.geometry
        video, audio = self.backbone.transformer(
            hidden_states=x.video,
            audio_hidden_states=x.audio,
            encoder_hidden_states=condition.video,
            audio_encoder_hidden_states=condition.audio,
            timestep=1000 * t,
            sigma=1000 * t,
            encoder_attention_mask=condition.mask,
            audio_encoder_attention_mask=condition.mask,
            num_frames=geometry.frames,
            height=geometry.height,
            width=geometry.width,
            fps=geometry.fps,
            audio_num_frames=geometry.audio_frames,
            spatio_temporal_guidance_blocks=list(skip_blocks) or None,
            return_dict=False,
        )
        return Latents(video, audio)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of the tiny pipeline of a version, written once."""
    root = tmp_path_factory.mktemp("pipelines")

    def folder(version: str) -> Path:
        path = root / version
        return path if path.exists() else save_tiny_pipeline(path, version)  # type: ignore[arg-type]

    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of prompts for all tests that do not look into it."""
    return tmp_path_factory.mktemp("prompts")


@pytest.fixture(scope="session")
def tiny(saved: Callable[[str], Path], cache: Path) -> Callable[..., Ltx2Backbone]:
    """Loads the tiny pipeline, once for each version and change; no test changes what it is given."""

    @lru_cache
    def load(version: str, **changes: Any) -> Ltx2Backbone:
        return load_tiny(saved(version), cache, **changes)

    return lambda version="2.0", **changes: load(version, **changes)


@lru_cache
def diffusers_pipeline(folder: Path) -> LTX2Pipeline:
    """The pipeline as diffusers loads it, once for all tests that leave it as it is."""
    pipeline = LTX2Pipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run_diffusers(folder: Path, noise: Latents, **options: Any) -> tuple[Any, Any]:
    """The pipeline of diffusers from the same noise at the same levels."""
    pipeline = diffusers_pipeline(folder)
    vae = pipeline.audio_vae
    return pipeline(
        prompt=PROMPT,
        height=SIZE["height"],
        width=SIZE["width"],
        num_frames=SIZE["frames"],
        frame_rate=SIZE["fps"],
        sigmas=LEVELS[:-1],
        latents=noise.video,
        audio_latents=noise.audio * vae.latents_std + vae.latents_mean,  # the pipeline normalises what it is given
        modality_scale=1.0,
        audio_modality_scale=1.0,
        guidance_rescale=0.0,
        audio_guidance_rescale=0.0,
        max_sequence_length=PROMPT_TOKENS,
        return_dict=False,
        **options,
    )


def pack(pipeline_video: Tensor, pipeline_audio: Tensor, folder: Path) -> Latents:
    """Latents as the pipeline returns them, in model units."""
    pipeline = diffusers_pipeline(folder)
    vae, audio_vae = pipeline.vae, pipeline.audio_vae
    mean, std = (part.view(1, -1, 1, 1, 1) for part in (vae.latents_mean, vae.latents_std))
    video = ((pipeline_video - mean) / std).flatten(2).transpose(1, 2)
    audio = (pipeline_audio.transpose(1, 2).flatten(2) - audio_vae.latents_mean) / audio_vae.latents_std
    return Latents(video, audio)


@pytest.mark.parametrize("version", VERSIONS)
def test_from_a_prompt_to_a_playable_clip(tiny: Callable[..., Ltx2Backbone], version: str, tmp_path: Path) -> None:
    backbone = tiny(version)
    noise = backbone.geometry.noise([rollout_seed(0, 0, 0, member) for member in range(2)])
    condition = backbone.condition([PROMPT, OTHER])
    latents = sample(
        Direct(backbone),
        "old",
        noise,
        torch.tensor(LEVELS),
        condition,
        negative=backbone.negative(),
        guidance=Guidance(stg_blocks=(1,)),
    )
    clips = backbone.decode(latents)
    assert len(clips) == 2
    assert not np.array_equal(clips[0].frames, clips[1].frames)
    for index, clip in enumerate(clips):
        assert clip.frames.shape == (9, 64, 96, 3)
        assert clip.frames.std() > 1
        assert clip.waveform.shape[0] == 2
        assert clip.waveform.shape[1] / clip.sample_rate == pytest.approx(9 / 24, abs=0.06)
        assert clip.sample_rate == (24_000 if version == "2.0" else 48_000)
        with av.open(str(save_mp4(clip, tmp_path / f"{index}.mp4"))) as container:
            assert sum(1 for _ in container.decode(video=0)) == 9
            container.seek(0)
            assert sum(frame.samples for frame in container.decode(audio=0)) > 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_network_says_which_version_it_is(tiny: Callable[..., Ltx2Backbone], version: str) -> None:
    assert network_version(tiny(version).transformer.config) == version


def test_the_tokens_of_the_first_frame_are_marked(tiny: Callable[..., Ltx2Backbone]) -> None:
    """By LTX-2.5, the only network that has a mark."""
    backbone = tiny("2.5")
    network = copy.deepcopy(backbone.transformer)
    entering: list[Tensor] = []
    network.transformer_blocks[0].register_forward_pre_hook(
        lambda module, positional, named: entering.append(named["hidden_states"]), with_kwargs=True
    )
    noise = backbone.geometry.noise([1, 2])
    for mark in (0.0, 3.0):
        torch.nn.init.constant_(network.keyframes_abs_pos_embedding, mark)
        with torch.no_grad():
            predict(
                network,
                backbone.geometry,
                noise,
                torch.tensor([0.3, 0.7]),
                backbone.condition([PROMPT, OTHER]),
                skip_blocks=(),
            )
    moved = entering[1] - entering[0]
    tokens = backbone.geometry.height * backbone.geometry.width
    assert 0 < tokens < noise.video.shape[1]
    torch.testing.assert_close(moved[:, :tokens], torch.full_like(moved[:, :tokens], 3.0))
    assert not moved[:, tokens:].any()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("guided", [False, True], ids=["conditional", "guided"])
def test_sampling_equals_the_pipeline_of_diffusers(
    tiny: Callable[..., Ltx2Backbone], saved: Callable[[str], Path], version: str, guided: bool
) -> None:
    backbone = tiny(version)
    noise = backbone.geometry.noise([5])
    guidance = Guidance(1.5, 3.0, 1.0, (1,)) if guided else OFF
    found = sample(
        Direct(backbone),
        "old",
        noise,
        torch.tensor(LEVELS),
        backbone.condition([PROMPT]),
        negative=backbone.negative(),
        guidance=guidance,
    )
    video, audio = run_diffusers(
        saved(version),
        noise,
        negative_prompt=NEGATIVE_PROMPT,
        guidance_scale=guidance.video,
        audio_guidance_scale=guidance.audio,
        stg_scale=guidance.stg,
        audio_stg_scale=guidance.stg,
        spatio_temporal_guidance_blocks=list(guidance.stg_blocks),
        output_type="latent",
    )
    expected = pack(video, audio, saved(version))
    torch.testing.assert_close(found.video, expected.video, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found.audio, expected.audio, atol=2e-5, rtol=1e-4)
    assert (found.video - noise.video).abs().mean() > 0.1  # the network did something


@pytest.mark.parametrize("version", VERSIONS)
def test_decoding_equals_the_pipeline_of_diffusers(
    tiny: Callable[..., Ltx2Backbone], saved: Callable[[str], Path], version: str
) -> None:
    backbone = tiny(version)
    noise = backbone.geometry.noise([5])
    levels, condition = torch.tensor(LEVELS), backbone.condition([PROMPT])
    clip = backbone.decode(sample(Direct(backbone), "old", noise, levels, condition, guidance=OFF))[0]
    frames, sound = run_diffusers(
        saved(version),
        noise,
        guidance_scale=1.0,
        audio_guidance_scale=1.0,
        stg_scale=0.0,
        audio_stg_scale=0.0,
        output_type="np",
    )
    assert np.abs(clip.frames / 255 - frames[0]).max() < 0.51 / 255 + 1e-4
    np.testing.assert_allclose(clip.waveform, sound[0].detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_vocoder_computes_in_float32_below_a_bfloat16_backbone(
    tiny: Callable[..., Ltx2Backbone], saved: Callable[[str], Path], version: str
) -> None:
    backbone = tiny(version, dtype="bfloat16")
    latents = backbone.geometry.noise([5])
    clip = backbone.decode(latents)[0]
    whole = LTX2Pipeline.from_pretrained(saved(version))
    vae, vocoder = whole.audio_vae.to(torch.bfloat16), whole.vocoder
    states = latents.audio * vae.latents_std.float() + vae.latents_mean.float()
    bins = vae.config.mel_bins // vae.mel_compression_ratio
    with torch.no_grad():
        mel = vae.decode(states.unflatten(2, (-1, bins)).transpose(1, 2).bfloat16(), return_dict=False)[0]
        wanted = vocoder(mel.float())[0]
        rounded = vocoder.bfloat16()(mel)[0].float()
    assert mel.dtype == torch.bfloat16
    torch.testing.assert_close(torch.from_numpy(clip.waveform), wanted, atol=1e-6, rtol=0)
    assert (rounded - wanted).abs().max() > 1e-4  # what would be heard otherwise


@pytest.mark.parametrize("version", VERSIONS)
def test_conditioning_is_that_of_encoder_and_connectors(
    tiny: Callable[..., Ltx2Backbone], saved: Callable[[str], Path], version: str
) -> None:
    found = tiny(version).condition([PROMPT, OTHER, PROMPT])
    pipeline = diffusers_pipeline(saved(version))
    states, mask, *_ = pipeline.encode_prompt(
        [PROMPT, OTHER], do_classifier_free_guidance=False, max_sequence_length=PROMPT_TOKENS
    )
    video, audio, _ = pipeline.connectors(states, mask, padding_side="left")
    torch.testing.assert_close(found.video, video[[0, 1, 0]], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.audio, audio[[0, 1, 0]], atol=1e-5, rtol=1e-5)
    assert found.video.shape[2] == 16
    assert found.audio.shape[2] == (16 if version == "2.0" else 8)
    assert found.mask is None
    assert (video[0] - video[1]).abs().max() > 0.01


def test_the_text_encoder_is_not_loaded_for_prompts_in_the_cache(
    saved: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = tiny_section(saved("2.0"), tmp_path)
    first = Ltx2Backbone.load(section, "cpu", prompts=[PROMPT, OTHER, PROMPT], prompt_tokens=PROMPT_TOKENS)
    before = first.condition([PROMPT])
    assert len(list(tmp_path.iterdir())) == 3  # two prompts and the negative one

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the text encoder was loaded")

    monkeypatch.setattr(transformers.Gemma3ForConditionalGeneration, "from_pretrained", refuse)
    again = Ltx2Backbone.load(section, "cpu", prompts=[OTHER, PROMPT], prompt_tokens=PROMPT_TOKENS)
    assert torch.equal(again.condition([PROMPT]).video, before.video)
    assert again.negative().video.shape == before.video.shape
    with pytest.raises(AssertionError, match="was loaded"):
        again.condition(["new"])


def test_a_broken_file_of_the_cache_is_written_again(
    saved: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = PromptStore(saved("2.0"), tmp_path, TextOptions("cpu", torch.float32, PROMPT_TOKENS))
    before = store.condition([PROMPT])
    whole = store.path(PROMPT).read_bytes()
    store.path(PROMPT).write_bytes(whole[:-7])
    assert torch.equal(store.condition([PROMPT]).video, before.video)
    assert "is broken" in caplog.text
    assert store.path(PROMPT).read_bytes() == whole
    assert store.prepare([PROMPT]) == 0
    assert store.missing([PROMPT, "new", "new"]) == ["new"]


def test_a_flipped_bit_in_the_cache_is_noticed(
    saved: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = PromptStore(saved("2.0"), tmp_path, TextOptions("cpu", torch.float32, PROMPT_TOKENS))
    before = store.condition([PROMPT])
    whole = store.path(PROMPT).read_bytes()
    store.path(PROMPT).write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
    assert torch.equal(store.condition([PROMPT]).video, before.video)
    assert "checksum differs" in caplog.text
    assert store.path(PROMPT).read_bytes() == whole


def test_the_key_of_a_prompt_covers_what_its_conditioning_depends_on(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    other = tmp_path / "retrained"
    shutil.copytree(saved("2.0"), other)
    weights = next((other / "connectors").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    paths = {
        PromptStore(folder, tmp_path, TextOptions("cpu", dtype, tokens)).path(prompt)
        for folder in (saved("2.0"), other)
        for dtype in (torch.float32, torch.bfloat16)
        for tokens in (PROMPT_TOKENS, 2 * PROMPT_TOKENS)
        for prompt in (PROMPT, OTHER)
    }
    assert len(paths) == 16


def test_a_long_prompt_is_cut_with_a_warning(
    saved: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = PromptStore(saved("2.0"), tmp_path, TextOptions("cpu", torch.float32, PROMPT_TOKENS))
    assert store.condition(["a" * 50]).video.shape[1] == PROMPT_TOKENS
    assert "is cut to 16" in caplog.text


def test_connectors_without_registers_give_a_mask(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(saved("2.0"), folder)
    pipeline = diffusers_pipeline(saved("2.0"))
    config = dict(pipeline.connectors.config)
    config |= {"video_connector_num_learnable_registers": None, "audio_connector_num_learnable_registers": None}
    shutil.rmtree(folder / "connectors")
    type(pipeline.connectors).from_config(config).save_pretrained(folder / "connectors")
    store = PromptStore(folder, tmp_path / "cache", TextOptions("cpu", torch.float32, PROMPT_TOKENS))
    found = store.condition(["a dog", "a"])
    assert found.mask is not None
    assert found.mask.shape == (2, PROMPT_TOKENS)
    assert found[[1]].mask is not None


def test_weights_arrive_in_their_format_frozen_and_in_evaluation_mode(tiny: Callable[..., Ltx2Backbone]) -> None:
    backbone = tiny(dtype="bfloat16")
    parameters = list(backbone.transformer.parameters())
    assert {p.dtype for p in parameters} == {torch.bfloat16}
    assert not any(p.requires_grad for p in parameters)
    assert not backbone.transformer.training
    assert backbone.condition([PROMPT]).video.dtype == torch.bfloat16
    clip = backbone.decode(backbone.geometry.noise([1]))[0]
    assert clip.waveform.dtype == np.float32


def test_geometry_follows_the_autoencoders(tiny: Callable[..., Ltx2Backbone]) -> None:
    geometry = tiny(frames=17, height=128).geometry
    assert (geometry.frames, geometry.height, geometry.width) == (3, 4, 3)
    assert geometry.audio_frames == round(17 / 24 * 25)
    assert (geometry.video_channels, geometry.audio_channels, geometry.fps) == (8, 8, 24.0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"height": 70}, r"multiples of 32.*9 frames of 96 x 64"),
        ({"width": 100}, r"Near: 9 frames of 96 x 64"),
        ({"frames": 12}, r"a multiple of 8 plus 1.*Near: 9 frames"),
        ({"frames": 489}, r"20.375 seconds of video.*end at 20\."),
        ({"frames": 121, "fps": 5.0}, r"24.2 seconds of video"),
        ({"height": 2080}, r"2080 pixels of height.*end at 2048"),
        ({"width": 2080}, r"2080 pixels of width"),
    ],
)
def test_sizes_it_cannot_make_are_refused_with_the_numbers(
    tiny: Callable[..., Ltx2Backbone], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        tiny(**changes)


@pytest.mark.parametrize(
    ("part", "changes", "told"),
    [
        ("transformer", {"audio_pos_embed_max_pos": 0.1}, r"0.36 seconds of sound.*end at 0.1"),
        ("transformer", {"patch_size": 2}, "expected patches of 1"),
        ("transformer", {"vae_scale_factors": [4, 32, 32]}, r"shrinks by \(8, 32, 32\)"),
        ("vae", {"_class_name": "AutoencoderKLLTX2Diffusion"}, "vae is a AutoencoderKLLTX2Diffusion"),
    ],
)
def test_other_pipelines_are_refused(
    saved: Callable[[str], Path], tmp_path: Path, part: str, changes: dict[str, Any], told: str
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(saved("2.0"), folder)
    path = folder / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UsageError, match=told):
        load_tiny(folder, tmp_path / "cache")


def test_missing_weights_are_named(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(saved("2.0"), folder)
    next((folder / "vocoder").glob("*.safetensors")).unlink()
    with pytest.raises(EnvironmentProblem, match="vocoder"):
        load_tiny(folder, tmp_path / "cache")
    (folder / "model_index.json").unlink()
    with pytest.raises(UsageError, match=r"model_index\.json"):
        locate(str(folder))
    with pytest.raises(EnvironmentProblem, match="neither a folder nor a hub id"):
        locate("not a/hub/id")


def test_the_digest_is_that_of_the_architecture(
    tiny: Callable[..., Ltx2Backbone], saved: Callable[[str], Path], tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(saved("2.0"), moved)
    assert tiny().digest == load_tiny(moved, tmp_path / "cache").digest
    assert tiny().digest != tiny("2.3").digest


@pytest.mark.parametrize("tiles", ["space", "time", "both"])
def test_tiles_change_nothing_far_from_seams(tiny: Callable[..., Ltx2Backbone], tiles: str) -> None:
    plain, tiled = (tiny(frames=33, height=576, width=64, tiling=how) for how in ("none", tiles))
    noise = plain.geometry.noise([1])
    a, b = (backbone.decode(noise)[0].frames.astype(int) for backbone in (plain, tiled))
    assert a.shape == b.shape == (33, 576, 64, 3)
    assert not np.array_equal(a, b)
    first = (slice(0, 33 if tiles == "space" else 9), slice(0, 576 if tiles == "time" else 128))
    assert np.abs(a[first] - b[first]).max() <= 1


def test_a_video_vae_that_takes_a_noise_level(tmp_path: Path) -> None:
    folder = save_tiny_pipeline(tmp_path / "timed", timestep_conditioning=True)
    backbone = load_tiny(folder, tmp_path / "cache")
    first, second = backbone.decode(backbone.geometry.noise([1, 1]))
    assert first.frames.std() > 0
    assert np.array_equal(first.frames, second.frames)
