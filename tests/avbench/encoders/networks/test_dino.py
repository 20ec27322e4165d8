"""DINO against the reference's inputs and features, and its table of positions."""

from __future__ import annotations

import numpy as np
import pytest
import vbench_goldens as vbench

from avbench.encoders import ClipInput, EncoderStore, LoadContext, WeightsConfig
from avbench.encoders.networks.dino import encoders
from avbench.encoders.networks.dino.encoders import DINO, DINO_FRAMES, network_input
from avbench.errors import EnvironmentProblem

torch = pytest.importorskip("torch")

CLIPS = ["clip_a16", "clip_f", "bbb6"]
REDUCED = WeightsConfig(weights="keyed-random-reduced")


@pytest.fixture(scope="module")
def network():
    return DINO.load(LoadContext(REDUCED, "cpu"))


def noise(count: int, size: tuple[int, int] = (224, 300), seed: int = 0):
    return (255 * np.random.default_rng(seed).random((count, *size, 3))).astype(np.float32)


def features(network, frames):
    return DINO_FRAMES.run(network, [ClipInput((frames,))])[0]


@pytest.mark.parametrize("name", CLIPS)
def test_inputs_equal_the_reference(name):
    expected = vbench.arrays_of("subject_consistency", name)
    frames = vbench.media(name).view(DINO_FRAMES.views[0])
    inputs = network_input(torch.from_numpy(frames)).numpy()
    assert list(inputs.shape) == vbench.golden("subject_consistency")[name]["in_shape"]
    np.testing.assert_allclose(vbench.sub_input(inputs), expected["in_sub"], atol=2e-6)
    np.testing.assert_allclose(inputs.mean(axis=(2, 3), dtype=np.float64), expected["in_mean"], atol=2e-6)


def test_entries_are_those_of_the_checkpoint():
    from avbench.encoders.networks.dino.network import VIT_B16, VisionTransformer

    assert vbench.entries_of(lambda: VisionTransformer(VIT_B16)) == vbench.checkpoint_entries("dino_vitb16")


@pytest.mark.parametrize("size", [(224, 225), (239, 224), (224, 400), (896, 224)])
def test_the_table_of_positions_moves_unless_the_picture_is_square(network, size):
    """The given factor sets the grid: output i of n lies at (i + 1/2) 14 / (n + 0.1) - 1/2."""
    table = network.pos_embed
    assert network.positions(224, 224) is table
    found = network.positions(*size)
    rows, columns = size[0] // 16, size[1] // 16
    grid = table[0, 1:].reshape(14, 14, -1).double()
    places = [(torch.arange(n).double() + 0.5) * 14 / (n + 0.1) - 0.5 for n in (rows, columns)]
    wanted = cubic(cubic(grid, places[0]).transpose(0, 1), places[1]).transpose(0, 1)
    np.testing.assert_allclose(found[0, 1:], wanted.flatten(0, 1), atol=1e-6)
    assert torch.equal(found[:, 0], table[:, 0])


def cubic(values, places):
    """Keys' kernel with a = -0.75 along the first axis, written out."""
    rows = []
    for place in places.tolist():
        first = int(np.floor(place))
        total = 0
        for tap in range(first - 1, first + 3):
            x = abs(place - tap)
            near, far = 1.25 * x**3 - 2.25 * x**2 + 1, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            total = total + (near if x <= 1 else far) * values[min(max(tap, 0), len(values) - 1)]
        rows.append(total)
    return torch.stack(rows)


def test_what_is_left_of_the_last_patch_is_not_seen(network):
    frames = noise(1)
    changed = frames.copy()
    changed[:, :, 288:] = 0
    np.testing.assert_array_equal(features(network, changed), features(network, frames))
    changed[:, :, 287] = 0
    assert not np.array_equal(features(network, changed), features(network, frames))


def test_frames_do_not_depend_on_their_company(network):
    frames = noise(20)
    together = features(network, frames)
    np.testing.assert_allclose(
        together, np.concatenate([features(network, frame[None]) for frame in frames]), atol=1e-6
    )
    still = features(network, frames[[3, 3, 3, 4]])
    np.testing.assert_array_equal(still[0], still[2])
    np.testing.assert_allclose(still, together[[3, 3, 3, 4]], atol=1e-6)


def test_clips_of_different_sizes_run_together(network):
    clips = [ClipInput((noise(3),)), ClipInput((noise(2, (896, 224)),))]
    together = DINO_FRAMES.run(network, clips)
    for clip, found in zip(clips, together, strict=True):
        np.testing.assert_array_equal(found, DINO_FRAMES.run(network, [clip])[0])


def test_runs_at_half_precision(network):
    half = DINO.load(LoadContext(WeightsConfig(weights="keyed-random-reduced", precision="bf16"), "cpu"))
    exact = features(network, noise(2))
    np.testing.assert_allclose(features(half, noise(2)), exact, atol=0.05 * np.abs(exact).max())


def test_a_checkpoint_is_read_strictly(tmp_path, monkeypatch, network):
    from avbench.encoders.networks.dino import network as module

    path = tmp_path / "dino.pth"
    monkeypatch.setattr(module, "VIT_B16", module.REDUCED)
    monkeypatch.setattr(encoders, "files", lambda row, setup: {path.name: path})
    torch.save(network.state_dict(), path)
    loaded = DINO.load(LoadContext(WeightsConfig(), "cpu"))
    np.testing.assert_array_equal(features(loaded, noise(2)), features(network, noise(2)))
    torch.save({key: value for key, value in network.state_dict().items() if key != "norm.bias"}, path)
    with pytest.raises(EnvironmentProblem, match=r"1 missing keys \(norm\.bias\)"):
        DINO.load(LoadContext(WeightsConfig(), "cpu"))


@pytest.mark.slow
def test_features_equal_the_reference():
    store = EncoderStore(setup=WeightsConfig(weights="keyed-random"))
    for name in CLIPS:
        expected = vbench.arrays_of("subject_consistency", name)
        found = store.embed(DINO_FRAMES, vbench.media(name))
        np.testing.assert_allclose(found[:, ::24], expected["feat_sub"], atol=2e-5)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), expected["feat_norm"], rtol=2e-6)
