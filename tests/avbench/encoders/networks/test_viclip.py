"""ViCLIP: inputs, tokens, entries and features against the reference's."""

from __future__ import annotations

import numpy as np
import pytest
from vbench_goldens import FOLDER, arrays, checkpoint_entries, decoded, entries_of, golden

from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.errors import EnvironmentProblem

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

from avbench.encoders.networks.clip import network_input, token_ids  # noqa: E402
from avbench.encoders.networks.viclip import encoders  # noqa: E402
from avbench.encoders.networks.viclip.encoders import (  # noqa: E402
    VICLIP,
    VICLIP_TEXT,
    VICLIP_VIDEO,
    bicubic_crop_224_rounded,
)
from avbench.encoders.networks.viclip.network import REDUCED, ViClip  # noqa: E402

TEXTS = {"clip_e": golden("viclip")["clip_e"], **golden("viclip")["text"]}


@pytest.fixture(scope="module")
def network():
    return VICLIP.load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu"))


def noise(seed: int):
    return np.random.default_rng(seed).integers(0, 256, (8, 224, 224, 3)).astype(np.uint8)


def test_frames_equal_the_reference():
    media = decoded(FOLDER / "clip_e.mp4", VICLIP_VIDEO.views)
    inputs = network_input(torch.from_numpy(media.view(VICLIP_VIDEO.views[0])), clip_bgr=False)
    np.testing.assert_allclose(inputs[:, :, 5::32, 5::32], arrays("viclip")["clip_e.in_sub"], atol=1e-6)
    np.testing.assert_allclose(inputs.mean((2, 3)), arrays("viclip")["clip_e.in_mean"], atol=1e-5)


@pytest.mark.parametrize("shape", [(224, 224), (300, 171), (64, 256), (1, 1), (720, 1280)])
def test_frames_equal_torchvision(shape):
    transforms = pytest.importorskip("torchvision.transforms")
    frame = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    resize = transforms.Resize(224, transforms.InterpolationMode.BICUBIC, antialias=False)
    expected = transforms.CenterCrop(224)(resize(torch.from_numpy(frame).permute(2, 0, 1)))
    np.testing.assert_array_equal(bicubic_crop_224_rounded(frame), expected.permute(1, 2, 0))


@pytest.mark.parametrize("case", TEXTS.values(), ids=TEXTS.keys())
def test_tokens_equal_the_reference(case):
    ids, _ = token_ids(case.get("prompt") or case["text"], 32)
    assert ids.tolist() == case["token_ids"]


def test_entries_are_those_of_the_checkpoint():
    assert entries_of(ViClip) == checkpoint_entries("viclip_l14")


def test_the_order_of_frames_matters():
    network = VICLIP.load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu"))
    with torch.no_grad():
        for parameter in network.vision_encoder.parameters():
            parameter.mul_(10 if parameter.ndim > 1 else 1)
    frames = np.linspace(0, 255, 8).astype(np.uint8)[:, None, None, None].repeat(224, 1).repeat(224, 2).repeat(3, 3)
    forward, backward = VICLIP_VIDEO.run(network, [ClipInput((frames,)), ClipInput((frames[::-1].copy(),))])
    assert np.abs(forward - backward).max() > 1e-3 * np.abs(forward).max()


def test_several_clips_equal_each_alone(network):
    clips = [ClipInput((noise(seed),), text) for seed, text in enumerate(["a dog", "rain " * 40, ""])]
    for encoder in (VICLIP_VIDEO, VICLIP_TEXT):
        together = encoder.run(network, clips)
        alone = [encoder.run(network, [clip])[0] for clip in clips]
        for one, other in zip(together, alone, strict=True):
            assert one.dtype == np.float32
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_runs_at_half_precision(precision, network):
    half = VICLIP.load(LoadContext(WeightsConfig("keyed-random-reduced", precision=precision), "cpu"))
    clip = ClipInput((noise(1),), "a dog in the rain")
    for encoder in (VICLIP_VIDEO, VICLIP_TEXT):
        exact, rounded = encoder.run(network, [clip])[0], encoder.run(half, [clip])[0]
        np.testing.assert_allclose(rounded, exact, atol=0.05 * np.abs(exact[:16]).max())


def test_a_checkpoint_is_read_strictly(tmp_path, monkeypatch, network):
    path = tmp_path / "viclip.pth"
    build = lambda size=REDUCED: ViClip(REDUCED)  # noqa: E731
    monkeypatch.setattr("avbench.encoders.networks.viclip.network.ViClip", build)
    monkeypatch.setattr(encoders, "files", lambda row, setup: {path.name: path})
    torch.save({"model": network.state_dict()}, path)
    loaded, clip = VICLIP.load(LoadContext(WeightsConfig(), "cpu")), ClipInput((noise(2),))
    np.testing.assert_array_equal(VICLIP_VIDEO.run(loaded, [clip])[0], VICLIP_VIDEO.run(network, [clip])[0])
    torch.save({"model": {k: v for k, v in network.state_dict().items() if k != "vision_encoder.proj"}}, path)
    with pytest.raises(EnvironmentProblem, match=r"1 missing keys \(vision_encoder\.proj\)"):
        VICLIP.load(LoadContext(WeightsConfig(), "cpu"))


@pytest.mark.slow
def test_features_equal_the_reference():
    network, expected = VICLIP.load(LoadContext(WeightsConfig("keyed-random"), "cpu")), arrays("viclip")
    media = decoded(FOLDER / "clip_e.mp4", VICLIP_VIDEO.views)
    kept = {}
    for number in (0, 11, 23):
        block = network.vision_encoder.transformer.resblocks[number]
        block.register_forward_hook(lambda _m, _i, out, number=number: kept.__setitem__(number, out[0, ::64, ::32]))
    (video,) = VICLIP_VIDEO.run(network, [ClipInput((media.view(VICLIP_VIDEO.views[0]),))])
    for number, output in kept.items():
        np.testing.assert_allclose(output, expected[f"clip_e.blk{number}_sub"], atol=5e-5)
    np.testing.assert_allclose(video, expected["clip_e.vision_feat"], atol=5e-5)
    names = {"clip_e.text_feat": "clip_e", "text.t0": "t0", "text.t1": "t1", "text.t2": "t2"}
    for name, key in names.items():
        case = TEXTS[key]
        (text,) = VICLIP_TEXT.run(network, [ClipInput((), case.get("prompt") or case["text"])])
        np.testing.assert_allclose(text[:-1], expected[name], atol=5e-5)
