"""CLIP: inputs, tokens and features against the reference's, and what a reduced network must do."""

from __future__ import annotations

import numpy as np
import pytest
import vbench_goldens as vbench

from avbench.clips import Clip, Prompt
from avbench.encoders import ClipInput, EncoderStore, LoadContext, WeightsConfig
from avbench.encoders.networks import clip as openclip
from avbench.encoders.networks.clip import (
    CLIP,
    CLIP_EVERY_FRAME,
    CLIP_FRAMES,
    CLIP_FRAMES_BGR,
    CLIP_TEXT,
    network_input,
    token_ids,
)
from avbench.encoders.texts import split_text
from avbench.errors import EnvironmentProblem
from avbench.media import Media, decode_clip

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

CLIPS = ["clip_a", "clip_b", "clip_c", "clip_d"]
REDUCED = WeightsConfig(weights="keyed-random-reduced")


@pytest.fixture(scope="module")
def arrays(golden_clips):
    return np.load(golden_clips.parent / "clip_vitb32.npz")


@pytest.fixture(scope="module")
def network():
    return CLIP.load(LoadContext(REDUCED, "cpu"))


def decoded(golden_clips, name: str) -> Media:
    clip = Clip(name, golden_clips / f"{name}.mp4", golden_clips / f"{name}.wav")
    return decode_clip(clip, name, CLIP_FRAMES.views)


def noise(count: int, seed: int = 0):
    return np.random.default_rng(seed).integers(0, 256, (count, 224, 224, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", CLIPS)
def test_inputs_and_tokens_equal_the_reference(name, golden, golden_clips, arrays):
    frames = torch.from_numpy(np.array(decoded(golden_clips, name).view(CLIP_FRAMES.views[0])))
    inputs = network_input(frames, clip_bgr=True)
    np.testing.assert_allclose(inputs[0, :, ::8, ::8], arrays[f"{name}_in0_sub"], atol=1e-6)
    np.testing.assert_allclose(inputs.mean((2, 3)), arrays[f"{name}_in_mean"], atol=1e-5)
    np.testing.assert_array_equal(token_ids(golden("clip_vitb32")[name]["prompt"])[0], arrays[f"{name}_tok"][0])


def test_the_flag_exchanges_red_and_blue():
    frames = torch.from_numpy(noise(2))
    right = network_input(frames, clip_bgr=False)
    swapped = network_input(frames.flip(3), clip_bgr=True)
    assert torch.equal(right, swapped)
    assert not torch.equal(right, network_input(frames, clip_bgr=True))


def test_long_texts_keep_the_end_token_and_tell_their_length():
    ids, count = token_ids("dog " * 200)
    short, few = token_ids("a dog")
    assert (len(ids), int(ids[-1]), count) == (77, 49407, 202)
    assert (short[:4].tolist(), few) == ([49406, 320, 1929, 49407], 4)


def test_equal_frames_are_embedded_once(network, monkeypatch):
    seen = []
    encode = network.encode_image
    monkeypatch.setattr(network, "encode_image", lambda pixels: seen.append(len(pixels)) or encode(pixels))
    frames = noise(3)[[0, 0, 1, 1, 1, 2]]
    (repeated,) = CLIP_FRAMES.run(network, [ClipInput((frames,))])
    assert seen == [3]
    (each,) = CLIP_FRAMES.run(network, [ClipInput((frames[[0, 2, 5]],))])
    np.testing.assert_array_equal(repeated, each[[0, 0, 1, 1, 1, 2]])


def test_several_clips_equal_each_alone(network):
    clips = [ClipInput((noise(5, seed),), text) for seed, text in enumerate(["a dog", "rain " * 90, ""])]
    for encoder in (CLIP_FRAMES, CLIP_FRAMES_BGR, CLIP_TEXT):
        together = encoder.run(network, clips)
        alone = [encoder.run(network, [clip])[0] for clip in clips]
        assert [array.dtype for array in together] == [np.float32] * 3
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_features_of_every_frame_do_not_depend_on_other_clips(network):
    clips = [ClipInput((noise(count, count).astype(np.float32),)) for count in (1, 70, 3)]
    for clip, together in zip(clips, CLIP_EVERY_FRAME.run(network, clips), strict=True):
        np.testing.assert_array_equal(together, CLIP_EVERY_FRAME.run(network, [clip])[0])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_runs_at_half_precision(precision, network):
    half = CLIP.load(LoadContext(WeightsConfig(weights="keyed-random-reduced", precision=precision), "cpu"))
    clip = ClipInput((noise(4),), "rain " * 90)
    for encoder in (CLIP_FRAMES, CLIP_TEXT):
        exact, rounded = encoder.run(network, [clip])[0], encoder.run(half, [clip])[0]
        assert rounded.dtype == np.float32
        np.testing.assert_allclose(rounded, exact, atol=0.05 * np.abs(exact[..., :32]).max())
    assert split_text(CLIP_TEXT.run(half, [clip])[0])[1] == 92


def test_a_checkpoint_is_read_strictly(tmp_path, monkeypatch, network):
    from safetensors.torch import save_file

    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    path = tmp_path / openclip.WEIGHTS
    save_file(state, path)
    build = openclip.build
    monkeypatch.setattr(openclip, "build", lambda name, reduced: build(name, reduced=True))
    monkeypatch.setattr(openclip, "files", lambda row, setup: {openclip.WEIGHTS: path})
    loaded = CLIP.load(LoadContext(WeightsConfig(), "cpu"))
    clip = ClipInput((noise(2),))
    np.testing.assert_array_equal(CLIP_FRAMES.run(loaded, [clip])[0], CLIP_FRAMES.run(network, [clip])[0])
    save_file({name: value for name, value in state.items() if name != "visual.proj"}, path)
    with pytest.raises(EnvironmentProblem, match=r"1 missing keys \(visual\.proj\)"):
        CLIP.load(LoadContext(WeightsConfig(), "cpu"))


def test_a_tokenizer_of_another_size_is_refused(monkeypatch):
    import open_clip

    openclip._tokenizer.cache_clear()
    monkeypatch.setattr(
        open_clip, "get_tokenizer", lambda name: open_clip.SimpleTokenizer(additional_special_tokens=["<x>"])
    )
    with pytest.raises(EnvironmentProblem, match="49409 entries"):
        token_ids("a dog")


@pytest.mark.parametrize(("architecture", "keys"), [("ViT-B-32-quickgelu", "b32"), ("ViT-L-14-quickgelu", "l14")])
def test_entries_are_those_that_openai_published(architecture, keys):
    published = vbench.checkpoint_entries(f"clip_vit{keys}_openai")
    assert vbench.entries_of(lambda: openclip.build(architecture)) == published


VBENCH_CLIPS = ["clip_e", "clip_f", "bbb6"]


@pytest.mark.parametrize("name", VBENCH_CLIPS)
def test_inputs_without_antialias_equal_vbench(name):
    expected, facts = vbench.arrays_of("background_consistency", name), vbench.golden("background_consistency")[name]
    frames = torch.from_numpy(vbench.media(name).view(CLIP_EVERY_FRAME.views[0]))
    inputs = network_input(frames, clip_bgr=False).numpy()
    np.testing.assert_allclose(vbench.sub_input(inputs), expected["in_sub"], atol=1e-5)
    np.testing.assert_allclose(inputs.mean(axis=(2, 3), dtype=np.float64), expected["in_mean"], atol=2e-6)
    assert list(inputs.shape) == facts["in_shape"]
    assert (inputs.min(), inputs.max()) == pytest.approx((facts["in_min"], facts["in_max"]), abs=1e-5)


@pytest.mark.slow
def test_features_of_every_frame_equal_vbench():
    store = EncoderStore(setup=WeightsConfig(weights="keyed-random"))
    for name in VBENCH_CLIPS:
        found = store.embed(CLIP_EVERY_FRAME, vbench.media(name))
        np.testing.assert_allclose(
            found[:, ::16], vbench.arrays_of("background_consistency", name)["feat_sub"], atol=2e-5
        )


@pytest.mark.slow
def test_features_equal_the_reference(golden, golden_clips, arrays):
    store = EncoderStore(setup=WeightsConfig(weights="keyed-random"))
    for name in CLIPS:
        media, prompt = decoded(golden_clips, name), Prompt(golden("clip_vitb32")[name]["prompt"])
        text, _ = split_text(store.embed(CLIP_TEXT, media, prompt))
        np.testing.assert_allclose(store.embed(CLIP_FRAMES_BGR, media), arrays[f"{name}_img"], atol=1e-4)
        np.testing.assert_allclose(text, arrays[f"{name}_txt"][0], atol=1e-4)
