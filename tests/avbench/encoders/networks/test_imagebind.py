"""ImageBind: its inputs and embeddings against the reference's numbers, and what it is asked to compute."""

# ruff: noqa: E402 - what follows the skips imports torch

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

from avbench.clips import Clip, Prompt
from avbench.encoders import ClipInput, EncoderStore, LoadContext, WeightsConfig
from avbench.encoders.loading import fill_keyed_random, load_strict
from avbench.encoders.networks.imagebind import network as network_module
from avbench.encoders.networks.imagebind.encoders import (
    CLIP_ENDS,
    EVERY_FRAME,
    IMAGEBIND,
    IMAGEBIND_AUDIO,
    IMAGEBIND_AUDIO_COMPAT,
    IMAGEBIND_AUDIO_TEXT,
    IMAGEBIND_FRAMES,
    IMAGEBIND_TEXT,
    IMAGEBIND_TEXT_COMPAT,
    IMAGEBIND_VIDEO,
    WAVEFORM,
)
from avbench.encoders.networks.imagebind.geometry import audio_clips, clip_ends, crop_corners
from avbench.encoders.networks.imagebind.inputs import mel_spectrograms, normalise_images, plan_audio
from avbench.encoders.networks.imagebind.network import HUGE, REDUCED, ImageBind, without_unused
from avbench.encoders.networks.imagebind.tokens import count_tokens, tokenize
from avbench.encoders.store import clip_input
from avbench.encoders.texts import split_text
from avbench.errors import EnvironmentProblem
from avbench.media import Media, decode_clip
from avbench.metrics.imagebind_score import av_ib_compat, ta_ib_compat, tv_ib_compat
from avbench.metrics.javis_score import avh_score_compat, javis_score_compat

GOLDENS = Path(__file__).parents[3] / "goldens" / "metrics"
CPU = torch.device("cpu")
CLIPS = pytest.mark.parametrize("name", ["clip_a", "clip_b", "clip_c", "clip_d"])


@pytest.fixture(scope="module")
def network():
    return IMAGEBIND.load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu"))


@pytest.fixture(scope="module")
def decoded(golden_clips):
    return {
        name: decode_clip(
            Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav"),
            name,
            [CLIP_ENDS, EVERY_FRAME, WAVEFORM],
        )
        for name in ("clip_a", "clip_b", "clip_c", "clip_d")
    }


def embed(network, encoder, *media, prompt=None):
    return encoder.run(network, [clip_input(encoder, each, prompt or Prompt()) for each in media])


def drawn(seed=0, seconds=4.0, size=(48, 64), fps=24.0):
    generator = np.random.default_rng(seed)
    pictures = generator.integers(0, 256, (int(seconds * fps), *size, 3)).astype(np.uint8)
    sound = 0.1 * generator.standard_normal((2, int(seconds * 16000)))
    return Media.from_arrays(f"{seed} {seconds} {size}", pictures, fps, sound, 16000)


# --- against the reference ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sizes", "name"), [(REDUCED, "ib_tiny"), (HUGE, "ib_huge")])
def test_keys_and_shapes_are_those_of_the_checkpoint(sizes, name, golden):
    with torch.device("meta"):
        state = ImageBind(sizes).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == golden(f"state_dict_keys/{name}")


@CLIPS
def test_pictures_equal_the_reference(name, decoded):
    expected = np.load(GOLDENS / f"imagebind_pre_{name}.npz")
    media = decoded[name]
    frames = media.view(CLIP_ENDS)
    ends = clip_ends(len(media.video.times), media.video.fps)
    place = {index: i for i, index in enumerate(np.unique(ends))}
    corners = crop_corners(*frames.shape[1:3], 224)
    corners = corners * 3 if len(corners) == 1 else corners
    pairs = [
        np.stack([frames[place[end], top : top + 224, left : left + 224] for end in pair])
        for pair in ends
        for top, left in corners
    ]
    video = normalise_images(pairs, CPU).permute(0, 4, 1, 2, 3).numpy()
    assert video.shape == (15, 3, 2, 224, 224)
    np.testing.assert_allclose(video[..., 5::32, 5::32], expected["video_sub"], atol=1e-4)
    np.testing.assert_allclose(video.mean((-1, -2)), expected["video_mean"], atol=1e-4)
    stills = normalise_images(list(media.view(EVERY_FRAME)), CPU).permute(0, 3, 1, 2).numpy()
    np.testing.assert_allclose(stills[::24, :, 5::16, 5::16], expected["frame_sub"], atol=1e-4)
    np.testing.assert_allclose(stills.mean((-1, -2)), expected["frame_mean"], atol=1e-4)


@CLIPS
def test_sound_equals_the_reference(name, decoded, golden):
    expected = np.load(GOLDENS / f"imagebind_pre_{name}.npz")
    sound = decoded[name].view(WAVEFORM)
    assert sound.shape[1] == golden("imagebind_pre")[name]["audio_len16k"]
    plan = plan_audio(sound, ib_inplace_mean=True)
    mels = mel_spectrograms(plan.slices, CPU).numpy()
    np.testing.assert_allclose(mels[plan.clips][..., 1::3, ::4], expected["audio"], atol=2e-3)
    np.testing.assert_allclose(mels[plan.windows or plan.clips[:1]][..., 1::3, ::4], expected["win_audio"], atol=2e-3)


@CLIPS
def test_embeddings_equal_the_reference(name, network, decoded, golden):
    expected = np.load(GOLDENS / "imagebind_tiny.npz")
    prompts = golden("imagebind_tiny")[name]["prompts"]
    np.testing.assert_array_equal(tokenize(prompts, ib_text_truncation=True), expected[f"{name}_tokens"])
    check_embeddings(network, decoded[name], prompts, expected, 2e-5)
    frames = embed(network, IMAGEBIND_FRAMES, decoded[name])[0]
    np.testing.assert_allclose(frames, expected[f"{name}_frames"], atol=2e-5)
    rows = embed(network, IMAGEBIND_AUDIO_COMPAT, decoded[name])[0]
    np.testing.assert_allclose(rows[1:] if len(rows) > 1 else rows, expected[f"{name}_win_audio"], atol=2e-5)


def check_embeddings(network, media, prompts, expected, tolerance):
    prompt = Prompt(prompts[0], audio_text=prompts[1])
    found = {
        "vision": embed(network, IMAGEBIND_VIDEO, media)[0][None],
        "audio": embed(network, IMAGEBIND_AUDIO_COMPAT, media)[0][:1],
        "text": np.stack(
            [split_text(embed(network, e, media, prompt=prompt)[0])[0] for e in (IMAGEBIND_TEXT, IMAGEBIND_AUDIO_TEXT)]
        ),
    }
    for field, value in found.items():
        np.testing.assert_allclose(value, expected[f"{media.key}_{field}"], atol=tolerance, err_msg=field)


@pytest.mark.slow
def test_full_size_equals_the_reference(decoded, golden):
    store = EncoderStore(setup=WeightsConfig("keyed-random"))
    network = store._network(IMAGEBIND)
    expected = np.load(GOLDENS / "imagebind_huge.npz")
    scorers = {"ib_tv": tv_ib_compat, "ib_ta": ta_ib_compat, "ib_av": av_ib_compat}
    scorers |= {"avh": avh_score_compat, "javis": javis_score_compat}
    for name, case in golden("imagebind_huge").items():
        check_embeddings(network, decoded[name], case["prompts"], expected, 1e-4)
        prompt = Prompt(case["prompts"][0], audio_text=case["prompts"][1])
        wanted = {key: case[key] for key in scorers if key in case}
        found = {key: scorers[key](decoded[name], prompt, store).value for key in wanted}
        assert found == pytest.approx(wanted, abs=1e-4)
    frames = store.embed(IMAGEBIND_FRAMES, decoded["clip_d"])
    np.testing.assert_allclose(frames[:, ::8], expected["clip_d_frames"], atol=1e-4)


# --- flaws of the reference, both sides -----------------------------------------------------------------------------


def test_cut_captions_share_one_embedding_only_in_the_reference(network, golden):
    expected = np.load(GOLDENS / "imagebind_tiny_longtext.npz")
    texts = [ClipInput((), text) for text in golden("imagebind_tiny_longtext")["texts"]]
    first, second, short = (split_text(row) for row in IMAGEBIND_TEXT_COMPAT.run(network, texts))
    np.testing.assert_allclose([first[0], second[0], short[0]], expected["text"], atol=2e-5)
    np.testing.assert_array_equal(first[0], second[0])
    fixed = [split_text(row) for row in IMAGEBIND_TEXT.run(network, texts)]
    assert np.abs(fixed[0][0] - fixed[1][0]).max() > 0.01
    np.testing.assert_array_equal(fixed[2][0], short[0])
    assert [count for _, count in fixed] == [112, 110, 4]


def test_end_token_survives_the_cut_only_when_fixed():
    text = "dog " * 80
    fixed, compat = (tokenize([text], ib_text_truncation=flag)[0] for flag in (False, True))
    assert fixed.max() == fixed[-1] == 49407
    assert compat.max() == compat[0] == 49406
    assert torch.equal(fixed[:-1], compat[:-1])
    exact = "dog " * 75
    assert count_tokens(exact) == 77
    assert torch.equal(tokenize([exact], ib_text_truncation=False), tokenize([exact], ib_text_truncation=True))


def test_means_reach_the_next_slice_only_in_the_reference():
    sound = np.linspace(0, 1, 64000, dtype=np.float32)[None]
    fixed, compat = (plan_audio(sound, ib_inplace_mean=flag) for flag in (False, True))
    for index, (start, stop) in enumerate(audio_clips(64000)):
        part = sound[0, start:stop]
        np.testing.assert_allclose(fixed.slices[fixed.clips[index]], part - part.mean(), atol=1e-6)
    second = compat.slices[compat.clips[1]]
    # The first clip, 0 to 2 s, lost its mean of 0.25, so its second half starts the second clip that much lower.
    assert np.diff(second)[15999] == pytest.approx(0.25, abs=1e-3)
    assert np.abs(np.diff(fixed.slices[fixed.clips[1]])).max() < 1e-4
    assert sound[0, -1] == 1.0, "the clip's own sound must stay as it is"


def test_without_overlap_both_modes_agree():
    sound = np.random.default_rng(0).normal(0.2, 0.1, (2, 96000)).astype(np.float32)
    fixed, compat = (plan_audio(sound, ib_inplace_mean=flag) for flag in (False, True))
    for a, b in zip(fixed.clips, compat.clips, strict=True):
        np.testing.assert_array_equal(fixed.slices[a], compat.slices[b])


# --- how much is computed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "fps", "vision"),
    [((48, 64), 24.0, 15 + 96), ((64, 48), 3.0, 15 + 12), ((64, 64), 3.0, 5 + 12)],
)
def test_each_distinct_input_passes_once(network, size, fps, vision):
    rows = Counter()
    hooks = [
        trunk.blocks[0].register_forward_hook(lambda _, inputs, __, name=name: rows.update({name: len(inputs[0])}))
        for name, trunk in network.modality_trunks.items()
    ]
    media, prompt = drawn(size=size, fps=fps), Prompt("a dog", audio_text="barking")
    for encoder in (IMAGEBIND_VIDEO, IMAGEBIND_FRAMES, IMAGEBIND_AUDIO, IMAGEBIND_TEXT, IMAGEBIND_AUDIO_TEXT):
        embed(network, encoder, media, prompt=prompt)
    for hook in hooks:
        hook.remove()
    assert rows == {"vision": vision, "audio": 5, "text": 2}


def test_a_still_passes_once_and_keeps_its_frames(network):
    still = Media.from_arrays("still", np.tile(drawn().frames[:1], (30, 1, 1, 1)), 24.0)
    rows = []
    hook = (
        network.modality_trunks["vision"]
        .blocks[0]
        .register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    )
    frames = embed(network, IMAGEBIND_FRAMES, still)[0]
    hook.remove()
    assert rows == [1]
    assert frames.shape == (30, 32)
    assert (frames == frames[0]).all()


def test_a_still_is_a_pair_of_equal_frames(network):
    stills = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        pairs = network.embed_images(torch.stack([stills, stills], dim=2))
        np.testing.assert_allclose(network.embed_images(stills), pairs, atol=1e-6)


def test_several_clips_at_once_equal_one_by_one(network):
    clips = [drawn(1, 4.0, fps=2.0), drawn(2, 0.3, (64, 48)), drawn(3, 2.5, (50, 50), 3.0)]
    for encoder in (IMAGEBIND_VIDEO, IMAGEBIND_FRAMES, IMAGEBIND_AUDIO, IMAGEBIND_AUDIO_COMPAT):
        together = embed(network, encoder, *clips)
        for media, found in zip(clips, together, strict=True):
            np.testing.assert_allclose(found, embed(network, encoder, media)[0], atol=1e-5)


# --- odd clips ------------------------------------------------------------------------------------------------------


def test_no_row_below_one_analysis_frame(network):
    for encoder in (IMAGEBIND_AUDIO, IMAGEBIND_AUDIO_COMPAT):
        clips = [Media.from_arrays(f"{n}", None, 24.0, np.ones((1, n)), 16000) for n in (1, 399, 400, 32000, 32001)]
        assert [len(rows) for rows in embed(network, encoder, *clips)] == [0, 0, 1, 1, 3]


def test_silence_and_a_constant_have_finite_embeddings(network):
    for level in (0.0, 0.3):
        media = Media.from_arrays(f"level {level}", None, 24.0, np.full((1, 64000), level), 16000)
        assert np.isfinite(embed(network, IMAGEBIND_AUDIO, media)[0]).all()


def test_only_the_first_channel_is_heard(network):
    sound = drawn().waveform
    media = [
        Media.from_arrays(f"channel {i}", None, 24.0, np.stack([sound[0], other]), 16000)
        for i, other in enumerate((sound[1], np.zeros_like(sound[1])))
    ]
    first, second = embed(network, IMAGEBIND_AUDIO, *media)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_one_frame_is_a_clip(network):
    media = drawn(seconds=1 / 24)
    assert clip_ends(1, 24.0) == [(0, 0)] * 5
    assert embed(network, IMAGEBIND_VIDEO, media)[0].shape == (32,)


def test_clip_ends_of_121_frames():
    # As pytorchvideo's sampler gives them: 3.0416... s x 24 must come out as 73, not a hair above.
    assert clip_ends(121, 24.0) == [(0, 47), (19, 66), (37, 84), (55, 102), (73, 120)]
    assert audio_clips(80667) == [(0, 32000), (24333, 56333), (48667, 80667)]
    assert clip_ends(150, 25.0) == [(0, 49), (25, 74), (50, 99), (75, 124), (100, 149)]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near(network, precision):
    half = IMAGEBIND.load(LoadContext(WeightsConfig("keyed-random-reduced", precision=precision), "cpu"))
    media, prompt = drawn(seconds=2.2, size=(48, 48), fps=1.5), Prompt("a dog barks")
    for encoder in (IMAGEBIND_VIDEO, IMAGEBIND_FRAMES, IMAGEBIND_AUDIO, IMAGEBIND_TEXT):
        found, wanted = (embed(each, encoder, media, prompt=prompt)[0] for each in (half, network))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=0.03)


# --- weights ---------------------------------------------------------------------------------------------------------


UNUSED = {f"modality_trunks.{name}.blocks.0.norm_1.weight": torch.zeros(1) for name in ("depth", "thermal", "imu")}


def test_a_checkpoint_is_loaded_without_its_unused_branches(network, tmp_path, monkeypatch):
    path = tmp_path / "imagebind_huge.pth"
    torch.save(network.state_dict() | UNUSED | {"modality_postprocessors.imu.1.log_logit_scale": torch.zeros(())}, path)
    monkeypatch.setattr(network_module, "HUGE", REDUCED)
    monkeypatch.setattr(network_module, "files", lambda row, setup: {f"{row}.pth": path})
    loaded = IMAGEBIND.load(LoadContext(WeightsConfig(), "cpu")).state_dict()
    assert loaded.keys() == network.state_dict().keys()
    assert all(torch.equal(value, loaded[key]) for key, value in network.state_dict().items())


def test_another_file_is_refused(network):
    state = network.state_dict()
    with pytest.raises(EnvironmentProblem, match="no depth branch"):
        without_unused(state, Path("x.pth"))
    more = without_unused(state | UNUSED | {"other": torch.zeros(1)}, Path("x.pth"))
    with pytest.raises(EnvironmentProblem, match="unknown keys"):
        load_strict(ImageBind(REDUCED), more, "x.pth")


def test_keyed_weights_fill_everything_but_the_mask():
    module = ImageBind(REDUCED)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    fill_keyed_random(module)
    same = [key for key, value in module.state_dict().items() if torch.equal(value, before[key])]
    assert same == ["modality_preprocessors.text.mask"]
