# ruff: noqa: E402
"""Synchformer: inputs and network against the reference, parts of it against naive code and transformers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torch import nn
from torch.nn import functional

from avbench.clips import Clip
from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.loading import load_strict
from avbench.encoders.networks.synchformer import video as video_module
from avbench.encoders.networks.synchformer.attention import Summary
from avbench.encoders.networks.synchformer.audio import SpectrogramTransformer
from avbench.encoders.networks.synchformer.encoders import (
    AUDIO,
    BACKBONE,
    EIGHT_SECONDS,
    FOUR_SECONDS,
    OWN_LENGTH,
    VIDEO,
    Recipe,
)
from avbench.encoders.networks.synchformer.inference import Description, compare, describe
from avbench.encoders.networks.synchformer.inputs import log_mel, normalise
from avbench.encoders.networks.synchformer.network import REDUCED, Size, Synchformer
from avbench.encoders.networks.synchformer.segments import blocks, cut_segments, distinct
from avbench.encoders.networks.synchformer.video import DividedAttention
from avbench.media import AudioInfo, VideoInfo, decode_clip
from avbench.metrics.desync import margins, mean_offset

GOLDEN_CLIPS = ["clip_a", "clip_b", "clip_c", "clip_d"]
TEST_WEIGHTS = WeightsConfig(weights="keyed-random-reduced")
JAVISBENCH = {"clip_a": 4.0, "clip_b": 4.0, "clip_c": 6.0, "clip_d": 2.0}


@pytest.fixture(scope="module")
def network():
    return BACKBONE.load(LoadContext(TEST_WEIGHTS, "cpu"))


@pytest.fixture(scope="module")
def lively():
    """A small network with large weights, so that its logits depend on the input by more than rounding."""
    torch.manual_seed(0)
    module = Synchformer(REDUCED).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.requires_grad_(False)


@pytest.fixture(scope="module")
def golden_inputs(golden_clips):
    """The four clips as the encoder gets them."""
    inputs = {}
    for name in GOLDEN_CLIPS:
        clip = Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav")
        media = decode_clip(clip, name, (VIDEO, AUDIO))
        inputs[name] = ClipInput((media.view(VIDEO), media.view(AUDIO)), None, media.video, media.audio)
    return inputs


@pytest.fixture(scope="module")
def golden_arrays(golden_clips):
    """Loads the arrays of a golden by name."""
    return lambda name: np.load(golden_clips.parent / f"{name}.npz")


def drawn(frames=60, seconds=2.4, *, seed=0, fps=25.0, audio_start=0.0):
    """A clip of noise. 2.4 s: six segments."""
    generator = np.random.default_rng(seed)
    view = generator.integers(0, 256, (frames, 224, 224, 3)).astype(np.uint8)
    sound = 0.1 * generator.standard_normal((1, round(seconds * 16000))).astype(np.float32)
    video = VideoInfo(np.arange(frames) / fps, fps, 224, 224)
    return ClipInput((view, sound), None, video, AudioInfo(16000, 1, sound.shape[1], audio_start))


# --- preprocessing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN_CLIPS)
def test_inputs_equal_the_reference(name, golden_inputs, golden_arrays):
    expected = golden_arrays(f"synchformer_{name}")
    segments = cut_segments(golden_inputs[name], Recipe(JAVISBENCH[name], desync_drop_last=True))
    pixels = np.stack([segment.pixels() for segment in segments.video])  # (S, 16, 224, 224, 3)
    video = normalise(torch.from_numpy(pixels)).numpy()  # (S, 3, 16, 224, 224)
    for segment in range(len(segments)):
        frames = np.arange(16) + 8 * segment
        mean = video[segment].mean(axis=(2, 3), dtype=np.float64).T
        np.testing.assert_allclose(mean, expected["video_mean"][frames], atol=1e-4)
        for place in np.flatnonzero(frames % 10 == 0):
            sub = video[segment, :, place, 5::16, 5::16]
            np.testing.assert_allclose(sub, expected["video_sub"][frames[place] // 10], atol=1e-4)
    np.testing.assert_allclose(segments.audio[0][:2000], expected["audio_head"], atol=1e-5)
    assert int(JAVISBENCH[name] * 16000) == expected["audio_len"]


def test_spectrogram_of_a_tone_and_of_silence():
    time = torch.arange(10240) / 16000
    mel = log_mel(torch.stack([torch.sin(2 * torch.pi * 1000 * time), torch.zeros(10240)]))
    assert mel.shape == (2, 128, 66)
    # 1 kHz lies at 1000 of 2840 mel.
    assert abs(int(mel[0, :, 30].argmax()) - (1000 / 2840 * 129 - 1)) <= 1
    scale = 2 * 4.5689974
    np.testing.assert_allclose(mel[1, :, :65], (np.log(1e-6) + 4.2677393) / scale, rtol=1e-5)
    np.testing.assert_allclose(mel[:, :, 65], 4.2677393 / scale, rtol=1e-5)


# --- segments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "count"), [(4.0, 11), (4.8, 14), (5.0, 14), (6.0, 17), (8.0, 24), (10.0, 30)])
def test_number_of_segments(seconds, count):
    clip = drawn(round(seconds * 25), seconds)
    assert len(cut_segments(clip, Recipe())) == count
    assert len(cut_segments(clip, Recipe(seconds))) == count


def test_blocks():
    assert [block.tolist() for block in blocks(3)] == [[0, 1, 2] * 4 + [0, 1]]
    assert [block.tolist() for block in blocks(14)] == [list(range(14))]
    assert [block.tolist() for block in blocks(17)] == [list(range(14)), list(range(3, 17))]
    assert [block[0] for block in blocks(28)] == [0, 14]
    assert [block[0] for block in blocks(30)] == [0, 14, 16]
    assert blocks(0) == []


def test_own_length_pads_nothing_and_the_shorter_track_counts():
    assert all(min(s.indices) >= 0 for s in cut_segments(drawn(38, 1.5), Recipe()).video)
    assert len(cut_segments(drawn(100, 1.5), Recipe())) == 3
    assert len(cut_segments(drawn(38, 4.0), Recipe())) == 3


@pytest.mark.parametrize(("frames", "seconds"), [(1, 1 / 16000), (15, 4.0), (100, 0.63), (1, 4.0)])
def test_shorter_than_a_segment(frames, seconds):
    assert len(cut_segments(drawn(frames, seconds), Recipe())) == 0


def test_a_clip_without_a_frame_for_the_reference_has_no_segment():
    assert len(cut_segments(drawn(1, 4.0), Recipe(4.0, desync_drop_last=True))) == 0
    assert len(cut_segments(drawn(1, 4.0), Recipe(4.0))) == 11


def test_tracks_are_aligned_on_the_timeline():
    """Sound that starts 0.1 s late: the first segment begins where both tracks are, 0.12 s into the picture."""
    late = cut_segments(drawn(audio_start=0.1), Recipe())
    assert late.video[0].indices[0] == 3
    np.testing.assert_array_equal(late.audio[0], drawn().views[1][0][320 : 320 + 10240])
    early = cut_segments(drawn(audio_start=-0.1), Recipe())
    assert early.video[0].indices[0] == 0
    np.testing.assert_array_equal(early.audio[0], drawn().views[1][0][1600 : 1600 + 10240])
    assert len(cut_segments(drawn(audio_start=60.0), Recipe())) == 0


def test_a_fixed_length_pads_with_black_and_silence_and_ignores_the_timeline():
    clip = drawn(100, 4.0, audio_start=0.5)
    segments = cut_segments(clip, Recipe(8.0))
    assert len(segments) == 24
    assert segments.video[13].indices == (-1,) * 16
    assert not segments.video[13].pixels().any()
    assert not segments.audio[13].any()
    np.testing.assert_array_equal(segments.audio[0], clip.views[1][0][:10240])


def test_desync_drop_last_moves_a_clip_of_8_s_and_none_of_4_s():
    eight, four = drawn(200, 8.0), drawn(100, 4.0)
    assert cut_segments(eight, Recipe(8.0)).video[-1].indices[-1] == 199
    assert cut_segments(eight, Recipe(8.0, desync_drop_last=True)).video[-1].indices[-2:] == (198, -1)
    with_loss, without = (cut_segments(four, Recipe(4.0, desync_drop_last=flag)) for flag in (True, False))
    assert [s.indices for s in with_loss.video] == [s.indices for s in without.video]


def test_distinct():
    firsts, places = distinct(["a", "b", "a", "c", "b"])
    assert firsts == [0, 1, 3]
    assert places.tolist() == [0, 1, 0, 2, 1]
    assert distinct([])[0] == []


# --- the network ------------------------------------------------------------------------------------------------------


def test_keys_and_shapes_are_those_of_the_checkpoint(golden):
    with torch.device("meta"):
        state = Synchformer(Size()).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == golden("state_dict_keys/synch")


@pytest.mark.parametrize("axis", ["time", "space"])
def test_divided_attention_is_masked_attention(axis, monkeypatch):
    """Each patch sees the class token and its own line of the grid; the class token sees everything."""
    steps, patches, width, heads = 3, 4, 8, 2
    monkeypatch.setattr(video_module, "STEPS", steps)
    monkeypatch.setattr(video_module, "PATCHES", patches)
    torch.manual_seed(0)
    layer = DividedAttention(width, heads)
    x = torch.randn(2, 1 + steps * patches, width)
    line = torch.arange(steps * patches) % patches if axis == "time" else torch.arange(steps * patches) // patches
    mask = torch.ones(1 + steps * patches, 1 + steps * patches, dtype=torch.bool)
    mask[1:, 1:] = line[:, None] == line
    query, key, value = (
        part.view(2, -1, heads, width // heads).transpose(1, 2) for part in layer.qkv(x).chunk(3, dim=-1)
    )
    scores = query @ key.transpose(-1, -2) / (width // heads) ** 0.5
    mixed = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ value
    torch.testing.assert_close(layer(x, axis), layer.proj(mixed.transpose(1, 2).flatten(2)))


def test_summary_is_the_class_token_of_a_transformer_layer():
    torch.manual_seed(0)
    ours = Summary(8, 2).eval()
    nn.init.normal_(ours.cls_token)
    theirs = nn.TransformerEncoderLayer(8, 2, 32, 0.0, functional.gelu, 1e-6, batch_first=True, norm_first=True).eval()
    theirs.load_state_dict({key: value for key, value in ours.state_dict().items() if key != "cls_token"})
    x = torch.randn(3, 5, 8)
    expected = theirs(torch.cat([ours.cls_token.expand(3, -1, -1), x], dim=1))[:, 0]
    torch.testing.assert_close(ours(x), expected)


def test_spectrogram_transformer_equals_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.ASTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, max_length=66
    )
    torch.manual_seed(0)
    ours, theirs = SpectrogramTransformer(16, 2, 2).eval(), transformers.ASTModel(config).eval()
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.2)
    names = {
        "encoder.layer": "layers",
        "attention.attention.query": "attention.q_proj",
        "attention.attention.key": "attention.k_proj",
        "attention.attention.value": "attention.v_proj",
        "attention.output.dense": "attention.o_proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    state = {}
    for key, value in ours.state_dict().items():
        for old, new in names.items():
            key = key.replace(old, new)
        state[key] = value
    if state.keys() != theirs.state_dict().keys():
        pytest.skip("this release of transformers names its layers differently")
    theirs.load_state_dict(state)
    spectrogram = torch.randn(2, 128, 66)
    expected = theirs(spectrogram.transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(ours(spectrogram), expected, atol=1e-5, rtol=1e-5)


def test_a_checkpoint_fills_everything(lively):
    """As `load` does it: built without storage, every entry from the file."""
    with torch.device("meta"):
        module = Synchformer(REDUCED)
    load_strict(module, lively.state_dict(), "file")
    clip = drawn()
    np.testing.assert_array_equal(OWN_LENGTH.run(module.eval(), [clip])[0], OWN_LENGTH.run(lively, [clip])[0])


def test_logits_do_not_depend_on_the_company(lively):
    clips = [drawn(seed=1), drawn(10, 0.4), drawn(100, 4.0, seed=2), drawn(17, 4.0, seed=3)]
    together = OWN_LENGTH.run(lively, clips)
    assert [logits.shape for logits in together] == [(1, 21), (0, 21), (1, 21), (1, 21)]
    assert np.abs(together[0] - together[2]).max() > 1e-5
    for clip, logits in zip(clips, together, strict=True):
        np.testing.assert_allclose(OWN_LENGTH.run(lively, [clip])[0], logits, atol=2e-6)


def test_only_clips_that_are_too_short(network):
    assert [logits.shape for logits in OWN_LENGTH.run(network, [drawn(3, 0.1), drawn(1, 0.1)])] == [(0, 21)] * 2


@pytest.mark.long
def test_blocks_of_the_variants(network):
    clip = drawn(100, 4.0)
    assert FOUR_SECONDS.run(network, [clip])[0].shape == (1, 21)
    assert EIGHT_SECONDS.run(network, [clip])[0].shape == (2, 21)
    # At 4 s the last frame lies in no segment, so both modes see the same.
    np.testing.assert_array_equal(FOUR_SECONDS.run(network, [clip])[0], OWN_LENGTH.run(network, [clip])[0])


def test_equal_segments_are_embedded_once(network):
    counts = []
    hooks = [
        part.register_forward_hook(lambda module, inputs, output: counts.append(len(output)))
        for part in (network.vfeat_extractor, network.afeat_extractor)
    ]
    described = describe(network, [cut_segments(drawn(100, 4.0), Recipe(8.0))])[0]
    for hook in hooks:
        hook.remove()
    # 24 segments of each track, of which 13 hold something and 11 are padding.
    assert sum(counts) == 2 * (13 + 1)
    assert described.video.shape == (24, 8, REDUCED.width)
    assert described.audio.shape == (24, 6, REDUCED.width)
    np.testing.assert_array_equal(described.video[13], described.video[23])


def test_logits_depend_on_both_tracks_and_on_their_alignment(lively):
    described = describe(lively, [cut_segments(drawn(60), Recipe())])[0]
    logits = compare(lively, [described])[0]
    for other in (
        Description(described.video[::-1], described.audio),
        Description(described.video, described.audio[::-1]),
    ):
        assert np.abs(compare(lively, [other])[0] - logits).max() > 1e-5


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision(precision, network):
    half = BACKBONE.load(LoadContext(WeightsConfig(weights="keyed-random-reduced", precision=precision), "cpu"))
    clip = drawn(60)
    logits = OWN_LENGTH.run(half, [clip])[0]
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, OWN_LENGTH.run(network, [clip])[0], atol=0.02)


@pytest.mark.slow
def test_full_size_network_equals_the_reference(golden_inputs, golden, golden_arrays):
    full = BACKBONE.load(LoadContext(WeightsConfig(weights="keyed-random"), "cpu"))
    for name in GOLDEN_CLIPS:
        expected, arrays = golden("synchformer")[name], golden_arrays(f"synchformer_{name}")
        recipe = Recipe(expected["max_len_s"], desync_drop_last=True)
        described = describe(full, [cut_segments(golden_inputs[name], recipe)])[0]
        logits = compare(full, [described])[0]
        assert len(logits) == expected["blocks"]
        for number, block in enumerate(blocks(len(described.video))):
            np.testing.assert_allclose(logits[number], arrays[f"block{number}_logits"], atol=1e-3)
            seen, heard = described.video[block][:, ::2, ::24], described.audio[block][:, ::2, ::24]
            np.testing.assert_allclose(seen, arrays[f"block{number}_vfeat_sub"], atol=1e-3)
            np.testing.assert_allclose(heard, arrays[f"block{number}_afeat_sub"], atol=1e-3)
        assert logits.argmax(axis=1).tolist() == expected["argmax"]
        assert mean_offset(logits) == expected["desync"]
        np.testing.assert_allclose(margins(logits), expected["margin"], atol=1e-3)
