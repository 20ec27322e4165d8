"""UMT: inputs, positions, entries and logits against the reference's."""

from __future__ import annotations

import numpy as np
import pytest
from vbench_goldens import FOLDER, arrays, checkpoint_entries, decoded, entries_of, golden

from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.errors import EnvironmentProblem

torch = pytest.importorskip("torch")

from avbench.encoders.loading import fill_keyed_random  # noqa: E402
from avbench.encoders.networks.umt import encoders  # noqa: E402
from avbench.encoders.networks.umt.encoders import UMT, UMT_NETWORK, actions, bilinear_crop_224, network_input  # noqa: E402
from avbench.encoders.networks.umt.network import REDUCED, Size, Umt, positions  # noqa: E402


@pytest.fixture(scope="module")
def network():
    return UMT_NETWORK.load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu"))


def noise(seed: int):
    return np.random.default_rng(seed).integers(0, 256, (16, 224, 224, 3)).astype(np.uint8)


def clip_e():
    return decoded(FOLDER / "clip_e.mp4", UMT.views).view(UMT.views[0])


def test_frames_equal_the_reference():
    inputs = network_input(torch.from_numpy(clip_e())).transpose(0, 1)
    expected = arrays("human_action_umt_depth4")
    assert list(inputs.shape) == golden("human_action_umt_depth4")["clip_e"]["in_shape"]
    np.testing.assert_allclose(inputs[:, :, 5::32, 5::32], expected["clip_e.in_sub"], atol=1e-6)
    np.testing.assert_allclose(inputs.mean((2, 3)), expected["clip_e.in_mean"], atol=1e-5)


@pytest.mark.parametrize("shape", [(256, 256), (1, 1), (64, 256), (1280, 704), (225, 1024)])
def test_any_shape_becomes_a_square(shape):
    assert bilinear_crop_224(np.zeros((*shape, 3), np.uint8)).shape == (224, 224, 3)


def test_positions_equal_the_reference():
    expected = arrays("human_action_umt_depth4")["clip_e.pos_sub"]
    np.testing.assert_allclose(positions(14, 1024)[0, ::98, ::64], expected, atol=1e-6)


@pytest.mark.parametrize(("name", "depth"), [("umt_l16", 24), ("umt_l16_depth4", 4)])
def test_entries_are_those_of_the_checkpoint(name, depth):
    assert entries_of(lambda: Umt(Size(depth=depth))) == checkpoint_entries(name)


def test_the_labels_are_400_distinct_ones():
    assert len(set(actions())) == 400
    assert all(name == name.strip().lower() for name in actions())


def test_the_order_of_frames_matters(network):
    forward, backward = UMT.run(network, [ClipInput((noise(0),)), ClipInput((noise(0)[::-1].copy(),))])
    assert not np.array_equal(forward, backward)


def test_several_clips_equal_each_alone(network):
    clips = [ClipInput((noise(seed),)) for seed in range(3)]
    for one, clip in zip(UMT.run(network, clips), clips, strict=True):
        np.testing.assert_allclose(one, UMT.run(network, [clip])[0], atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_runs_at_half_precision(precision, network):
    half = UMT_NETWORK.load(LoadContext(WeightsConfig("keyed-random-reduced", precision=precision), "cpu"))
    exact, rounded = UMT.run(network, [ClipInput((noise(1),))])[0], UMT.run(half, [ClipInput((noise(1),))])[0]
    np.testing.assert_allclose(rounded, exact, atol=0.05 * np.abs(exact).max())


def test_a_checkpoint_is_read_strictly_but_for_its_positions(tmp_path, monkeypatch, network):
    """Published files hold half precision and, by their size, no table of positions."""
    path = tmp_path / "umt.pth"
    monkeypatch.setattr("avbench.encoders.networks.umt.network.Umt", lambda size: Umt(REDUCED))
    monkeypatch.setattr(encoders, "files", lambda row, setup: {path.name: path})
    state = {name: value.half() for name, value in network.state_dict().items() if name != "pos_embed"}
    torch.save(state, path)
    loaded, clip = UMT_NETWORK.load(LoadContext(WeightsConfig(), "cpu")), ClipInput((noise(2),))
    assert {entry.dtype for entry in loaded.state_dict().values()} == {torch.float32}
    np.testing.assert_allclose(UMT.run(loaded, [clip])[0], UMT.run(network, [clip])[0], atol=1e-3)
    torch.save({name: value for name, value in state.items() if name != "fc_norm.bias"}, path)
    with pytest.raises(EnvironmentProblem, match=r"1 missing keys \(fc_norm\.bias\)"):
        UMT_NETWORK.load(LoadContext(WeightsConfig(), "cpu"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "depth", "kept"), [("human_action_umt_depth4", 4, (0, 1, 3)), ("human_action_umt", 24, (0, 11, 23))]
)
def test_logits_equal_the_reference(name, depth, kept):
    network, expected = Umt(Size(depth=depth)), arrays(name)
    fill_keyed_random(network, keep=["pos_embed"])
    outputs = {}
    for number in kept:
        network.blocks[number].register_forward_hook(
            lambda _module, _inputs, output, number=number: outputs.__setitem__(number, output[0, ::224, ::32])
        )
    network.fc_norm.register_forward_hook(lambda _module, _inputs, output: outputs.__setitem__("pooled", output[0]))
    (logits,) = UMT.run(network, [ClipInput((clip_e(),))])
    for number in kept:
        np.testing.assert_allclose(outputs[number], expected[f"clip_e.blk{number}"], atol=2e-5)
    np.testing.assert_allclose(outputs["pooled"], expected["clip_e.pooled"], atol=2e-5)
    np.testing.assert_allclose(logits, expected["clip_e.logits"], atol=2e-5)
    assert np.argsort(-logits)[:5].tolist() == golden(name)["clip_e"]["top5"]
