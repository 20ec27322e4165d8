"""MUSIQ against the reference's tokens and scores, its sizes, and what a reduced network must do."""

from __future__ import annotations

import numpy as np
import pytest
import vbench_goldens as vbench

from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.networks.musiq import encoders
from avbench.encoders.networks.musiq.encoders import MUSIQ_FRAMES, MUSIQ_SPAQ, network_input
from avbench.encoders.networks.musiq.sizes import copy_sizes, frame_size, is_too_narrow, shrink
from avbench.errors import EnvironmentProblem
from avbench.media import Frames

torch = pytest.importorskip("torch")

CLIPS = ["clip_a16", "bbb6", "kitchen3"]
REDUCED = WeightsConfig(weights="keyed-random-reduced")


@pytest.fixture(scope="module")
def network():
    return MUSIQ_SPAQ.load(LoadContext(REDUCED, "cpu"))


def noise(count: int, size: tuple[int, int] = (70, 100), seed: int = 0):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3)).astype(np.uint8)


def ratings(network, frames):
    return MUSIQ_FRAMES.run(network, [ClipInput((frames,))])[0]


def inputs(name: str):
    return network_input(torch.from_numpy(vbench.media(name).view(MUSIQ_FRAMES.views[0])))


@pytest.mark.parametrize("name", CLIPS)
def test_inputs_equal_the_reference(name):
    expected, found = vbench.arrays_of("imaging_quality", name), inputs(name).numpy()
    assert list(found.shape) == vbench.golden("imaging_quality")[name]["in_shape"]
    np.testing.assert_allclose(vbench.sub_input(found), expected["in_sub"], atol=1e-6)
    np.testing.assert_allclose(found.mean(axis=(2, 3), dtype=np.float64), expected["in_mean"], atol=1e-6)


@pytest.mark.parametrize("name", CLIPS)
def test_positions_and_scales_equal_those_that_the_reference_does_not_mask(name, network):
    expected = vbench.arrays_of("imaging_quality", name)
    seen = expected["mask0"] == 1
    tokens, positions, scales = network.tokens(inputs(name)[:1])
    assert tokens.shape[1] == seen.sum() < vbench.golden("imaging_quality")[name]["tokens"]
    np.testing.assert_array_equal(positions, expected["pos0"][seen])
    np.testing.assert_array_equal(scales, expected["scale0"][seen])


def test_entries_are_those_of_the_checkpoint():
    from avbench.encoders.networks.musiq.network import MUSIQ, Musiq

    assert vbench.entries_of(lambda: Musiq(MUSIQ)) == vbench.checkpoint_entries("musiq")


@pytest.mark.parametrize(
    ("size", "shrunk", "copies"),
    [
        ((704, 1280), (281, 512), [(123, 224), (211, 384)]),
        ((96, 128), (96, 128), [(168, 224), (288, 384)]),
        ((512, 512), (512, 512), [(224, 224), (384, 384)]),
        # 512 / 561 * 561 is a little below 512, and is cut.
        ((561, 561), (511, 511), [(224, 224), (384, 384)]),
        ((1280, 320), (512, 128), [(224, 56), (384, 96)]),
    ],
)
def test_sizes(size, shrunk, copies):
    assert frame_size(*size) == shrunk
    assert copy_sizes(*shrunk) == copies
    assert shrink(np.zeros((*size, 3), np.uint8)).shape == (*shrunk, 3)


def test_small_frames_are_not_touched_and_large_ones_not_rounded():
    small = noise(1)[0]
    assert shrink(small) is small
    large = shrink(noise(1, (600, 700))[0])
    assert large.dtype == np.float32
    assert (large != np.round(large)).any()


def test_what_is_too_narrow_cannot_be_shrunk():
    assert [is_too_narrow(*size) for size in ((1, 512), (2, 4000), (2, 512), (5, 5))] == [True, True, False, False]


def test_frames_do_not_depend_on_their_company(network):
    frames = noise(6)
    together = ratings(network, frames)
    assert (together.shape, together.dtype) == ((6,), np.float32)
    np.testing.assert_allclose(together, [ratings(network, frame[None])[0] for frame in frames], atol=1e-5)
    clips = [ClipInput((frames,)), ClipInput((noise(2, (40, 160)),))]
    for clip, found in zip(clips, MUSIQ_FRAMES.run(network, clips), strict=True):
        np.testing.assert_array_equal(found, ratings(network, clip.views[0]))


def test_runs_at_half_precision(network):
    half = MUSIQ_SPAQ.load(LoadContext(WeightsConfig(weights="keyed-random-reduced", precision="bf16"), "cpu"))
    exact = ratings(network, noise(2))
    np.testing.assert_allclose(ratings(half, noise(2)), exact, atol=0.05 * np.abs(exact).max())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoint_is_read_strictly(prefix, tmp_path, monkeypatch, network):
    from avbench.encoders.networks.musiq import network as module

    path = tmp_path / "musiq.pth"
    monkeypatch.setattr(module, "MUSIQ", module.REDUCED)
    monkeypatch.setattr(encoders, "files", lambda row, setup: {path.name: path})
    state = {prefix + key: value for key, value in network.state_dict().items()}
    torch.save({"params": state}, path)
    loaded = MUSIQ_SPAQ.load(LoadContext(WeightsConfig(), "cpu"))
    np.testing.assert_array_equal(ratings(loaded, noise(2)), ratings(network, noise(2)))
    torch.save({key: value for key, value in state.items() if "head.bias" not in key}, path)
    with pytest.raises(EnvironmentProblem, match=r"1 missing keys \(head\.bias\)"):
        MUSIQ_SPAQ.load(LoadContext(WeightsConfig(), "cpu"))


@pytest.fixture(scope="module")
def full():
    network = MUSIQ_SPAQ.load(LoadContext(WeightsConfig(weights="keyed-random"), "cpu"))
    network.head.weight.mul_(40)
    network.head.bias.fill_(50)
    return network


SHAPES = {"None": (704, 1280), "shorter": (512, 930), "shorter_centercrop": (512, 930)}


@pytest.mark.slow
@pytest.mark.parametrize("mode", SHAPES)
def test_the_network_rates_frames_of_other_sizes_as_the_reference(mode, full):
    """Its other ways of shrinking are no metric here, but the network takes what they give."""
    expected = vbench.golden("imaging_quality")["kitchen3"][f"mode_{mode}"]
    frames = torch.from_numpy(vbench.media("kitchen3").view(Frames())).permute(0, 3, 1, 2).float()
    resized = torch.nn.functional.interpolate(frames, SHAPES[mode], mode="bilinear") / 255
    if mode == "shorter_centercrop":
        resized = resized[..., 209 : 209 + 512]
    assert list(resized.shape) == expected["in_shape"]
    with torch.inference_mode():
        found = [float(full(frame[None])) for frame in resized]
    assert np.mean(found) == pytest.approx(expected["score_0_100"], abs=2e-3)


@pytest.mark.slow
def test_tokens_and_scores_equal_the_reference(full):
    network = full
    for name in CLIPS:
        expected = vbench.arrays_of("imaging_quality", name)
        seen = expected["mask0"] == 1
        with torch.inference_mode():
            tokens = network.tokens(inputs(name)[:1])[0]
            features = torch.cat([network.transformer_encoder(*network.tokens(frame[None])) for frame in inputs(name)])
        everywhere = np.zeros((len(seen), tokens.shape[2]), np.float32)  # masked tokens stay zero
        everywhere[seen] = tokens[0]
        kept = np.arange(0, len(seen), len(seen) // 24)[:24]
        kept, wanted = kept[seen[kept]], expected["tok0_sub"][seen[kept]]
        np.testing.assert_allclose(everywhere[kept, ::12], wanted, atol=1e-4)
        np.testing.assert_allclose(features[:, ::8], expected["cls_sub"], atol=1e-4)
        found = ratings(network, vbench.media(name).view(MUSIQ_FRAMES.views[0]))
        np.testing.assert_allclose(found, expected["frame_scores"], atol=2e-3)
        assert found.mean() / 100 == pytest.approx(vbench.golden("imaging_quality")[name]["score"], abs=2e-5)
        assert found.mean() == pytest.approx(vbench.golden("imaging_quality")[name]["score_0_100"], abs=2e-3)
