"""LAION's aesthetic predictor on CLIP ViT-L/14 against the reference, and what a reduced one must do."""

from __future__ import annotations

import numpy as np
import pytest
import vbench_goldens as vbench

from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.networks import aesthetic
from avbench.encoders.networks.aesthetic import AESTHETIC_FRAMES, LAION_AESTHETIC
from avbench.encoders.networks.clip import network_input
from avbench.errors import EnvironmentProblem

torch = pytest.importorskip("torch")
pytest.importorskip("open_clip")

REDUCED = WeightsConfig(weights="keyed-random-reduced")


@pytest.fixture(scope="module")
def network():
    return LAION_AESTHETIC.load(LoadContext(REDUCED, "cpu"))


def noise(count: int, seed: int = 0):
    return (255 * np.random.default_rng(seed).random((count, 224, 224, 3))).astype(np.float32)


def ratings(network, frames):
    return AESTHETIC_FRAMES.run(network, [ClipInput((frames,))])[0]


def test_a_rating_is_linear_in_the_unit_feature(network):
    frames = noise(3)
    features = network.features(torch.from_numpy(frames))
    np.testing.assert_allclose(features.norm(dim=1), 1, atol=1e-6)
    wanted = features @ network.head.weight[0] + network.head.bias
    np.testing.assert_allclose(ratings(network, frames), wanted, atol=1e-6)
    assert ratings(network, frames).dtype == np.float32


def test_several_clips_equal_each_alone(network):
    clips = [ClipInput((noise(count, count),)) for count in (1, 40, 3)]
    for clip, together in zip(clips, AESTHETIC_FRAMES.run(network, clips), strict=True):
        assert together.shape == (len(clip.views[0]),)
        np.testing.assert_array_equal(together, AESTHETIC_FRAMES.run(network, [clip])[0])


def test_runs_at_half_precision_with_an_exact_head(network):
    half = LAION_AESTHETIC.load(LoadContext(WeightsConfig(weights="keyed-random-reduced", precision="bf16"), "cpu"))
    np.testing.assert_allclose(ratings(half, noise(2)), ratings(network, noise(2)), atol=0.01)
    assert half.head.weight.dtype == torch.float32


def test_both_checkpoints_are_read_strictly(tmp_path, monkeypatch):
    build = aesthetic.build
    paths = {aesthetic.CLIP_ROW: tmp_path / "clip.pth", aesthetic.ROW: tmp_path / "head.pth"}
    monkeypatch.setattr(aesthetic, "files", lambda row, setup: {paths[row].name: paths[row]})

    def small(name, reduced=False):
        network = build(name, reduced=True)
        network.visual.proj = torch.nn.Parameter(torch.ones(64, 768))  # as wide as the published features
        network.visual.output_dim = 768
        return network

    monkeypatch.setattr(aesthetic, "build", small)
    clip, head = small("ViT-L-14-quickgelu"), torch.nn.Linear(768, 1)
    torch.save(clip.state_dict(), paths[aesthetic.CLIP_ROW])
    torch.save({"weight": torch.ones(1, 768), "bias": torch.full((1,), 5.0)}, paths[aesthetic.ROW])
    # Equal columns of the projection: a unit feature of 768 equal numbers, whose sum is sqrt(768) or its negative.
    found = ratings(LAION_AESTHETIC.load(LoadContext(WeightsConfig(), "cpu")), noise(1))
    assert abs(found[0] - 5) == pytest.approx(np.sqrt(768), rel=1e-5)
    torch.save({"weight": head.weight}, paths[aesthetic.ROW])
    with pytest.raises(EnvironmentProblem, match=r"1 missing keys \(bias\)"):
        LAION_AESTHETIC.load(LoadContext(WeightsConfig(), "cpu"))


@pytest.mark.parametrize("name", ["kitchen3", "bbb6"])
def test_inputs_equal_the_reference(name):
    expected = vbench.arrays_of("aesthetic_quality", name)
    frames = torch.from_numpy(vbench.media(name).view(AESTHETIC_FRAMES.views[0]))
    inputs = network_input(frames, clip_bgr=False).numpy()
    assert list(inputs.shape) == vbench.golden("aesthetic_quality")[name]["in_shape"]
    np.testing.assert_allclose(vbench.sub_input(inputs), expected["in_sub"], atol=1e-5)
    np.testing.assert_allclose(inputs.mean(axis=(2, 3), dtype=np.float64), expected["in_mean"], atol=2e-6)


@pytest.fixture(scope="module")
def full():
    network = LAION_AESTHETIC.load(LoadContext(WeightsConfig(weights="keyed-random"), "cpu"))
    network.head.weight.mul_(50)
    network.head.bias.fill_(5)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kitchen3", "bbb6"])
def test_features_and_ratings_equal_the_reference(name, full):
    network = full
    expected = vbench.arrays_of("aesthetic_quality", name)
    frames = vbench.media(name).view(AESTHETIC_FRAMES.views[0])
    with torch.inference_mode():
        features = network.features(torch.from_numpy(frames)).numpy()
    # The reference's features are not normalised yet.
    lengths = np.linalg.norm(expected["feat_sub"], axis=1) / np.linalg.norm(features[:, ::24], axis=1)
    np.testing.assert_allclose(features[:, ::24] * lengths[:, None], expected["feat_sub"], atol=2e-5)
    found = ratings(network, frames)
    np.testing.assert_allclose(found, expected["frame_raw"], atol=1e-4)
    assert found.mean() / 10 == pytest.approx(vbench.golden("aesthetic_quality")[name]["score"], abs=1e-5)
