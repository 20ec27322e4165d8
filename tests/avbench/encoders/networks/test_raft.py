# ruff: noqa: E402
"""RAFT's flow against the reference implementation, and what an encoder must do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

import vbench_goldens as vbench
from keyed_entries import keyed_entries
from vbench_goldens import arrays_of, checkpoint_entries, golden

from avbench.clips import Prompt
from avbench.encoders import ClipInput, EncoderStore, LoadContext, WeightsConfig
from avbench.encoders.networks.raft import encoders, network
from avbench.encoders.networks.raft.encoders import EIGHTHS, NEIGHBOURS, RAFT
from avbench.errors import EnvironmentProblem
from avbench.media import Media
from avbench.metrics.vbench_dynamic_degree import dynamic_degree
from avbench.metrics.vbench_static_filter import StaticRule, static_filter

REDUCED = LoadContext(WeightsConfig("keyed-random-reduced"), "cpu")
LAST_LAYER = "update_block.flow_head.conv2."


def published(weights: str) -> dict[str, Any]:
    """The checkpoint of a golden; with "small_" weights the flow is short."""
    entries = keyed_entries(checkpoint_entries("raft"))
    scale = 0.02 if weights == "small_" else 1.0
    return {f"module.{name}": entry * scale if LAST_LAYER in name else entry for name, entry in entries.items()}


def loaded(entries: dict[str, Any], path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    torch.save(entries, path)
    monkeypatch.setattr(network, "files", lambda row, setup: {path.name: path})
    return RAFT.load(LoadContext(WeightsConfig(), "cpu"))


@pytest.fixture(scope="module")
def reduced() -> Any:
    return RAFT.load(REDUCED)


class Seen:
    """What a network computes on the way, pair by pair: flows, and of the first pair features and steps of the flow."""

    def __init__(self, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flows: list[Any] = []
        self.changes: list[Any] = []
        self.features: Any = None
        self.context: Any = None
        module.feature_encoder.register_forward_hook(self._keep_first("features"))
        module.context_encoder.register_forward_hook(self._keep_first("context"))
        module.update_block.register_forward_hook(lambda _, inputs, output: self.changes.append(output[1]))
        plain = network.flow

        def flow(*arguments: Any) -> Any:
            self.flows.append(plain(*arguments))
            return self.flows[-1]

        monkeypatch.setattr(network, "flow", flow)

    def _keep_first(self, name: str) -> Any:
        def keep(module: Any, inputs: Any, output: Any) -> None:
            if getattr(self, name) is None:
                setattr(self, name, output)

        return keep


def noise(frames: int, height: int = 130, width: int = 141, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3)).astype(np.uint8)


def test_entries_are_those_of_the_published_checkpoint() -> None:
    names = {name: torch.empty(shape) for name, shape in checkpoint_entries("raft").items()}
    converted = {name: list(entry.shape) for name, entry in network.torchvision_entries(names).items()}
    assert converted == {name: list(entry.shape) for name, entry in network.build().state_dict().items()}


CASES = [
    pytest.param("clip_f", weights, marks=marks) for weights, marks in (("", ()), ("small_", pytest.mark.slow))
] + [pytest.param(name, weights, marks=pytest.mark.slow) for name in ("clip_e", "bbb16") for weights in ("", "small_")]


@pytest.mark.parametrize(("name", "weights"), CASES)
def test_speeds_equal_the_reference(name: str, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded(published(weights), tmp_path / "raft.pth", monkeypatch)
    frames, expected = vbench.media(name).view(EIGHTHS.views[0]), arrays_of("dynamic_degree", name)
    assert list(encoders.padded_sides(*frames.shape[1:3], 8)) == golden("dynamic_degree")[name]["padded"]
    seen = Seen(module, monkeypatch)
    (speeds,) = EIGHTHS.run(module, [ClipInput((frames,))])
    np.testing.assert_allclose(speeds, golden("dynamic_degree")[name][f"{weights}pair_scores"], atol=1e-4)

    def close(found: Any, key: str) -> None:
        np.testing.assert_allclose(found, expected[key], atol=1e-3)

    flow = torch.cat(seen.flows)
    close(flow[:, :, 4::16, 4::16], f"{weights}flow_sub")
    close(flow.mean((2, 3)), f"{weights}flow_mean")
    close(sum(seen.changes[: network.UPDATES])[0, :, ::2, ::2], f"{weights}low_pair0")
    if not weights:  # the encoders are the same with both
        close(seen.features[0, ::16, ::4, ::4], "fmap_sub")
        close(seen.context[0, ::16, ::4, ::4], "cmap_sub")


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["", "small_"])
def test_speeds_of_neighbours_equal_the_reference(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = loaded(published(weights), tmp_path / "raft.pth", monkeypatch)
    (speeds,) = NEIGHBOURS.run(module, [ClipInput((vbench.media("clip_f").view(NEIGHBOURS.views[0]),))])
    np.testing.assert_allclose(speeds, golden("dynamic_degree")["clip_f"][f"{weights}static_scores"], atol=1e-4)


def still(frames: int) -> Any:
    return vbench.media("clip_f").frames[[0] * frames]


def test_every_pair_of_a_still_is_alike_and_it_is_static() -> None:
    store = EncoderStore(setup=REDUCED.setup)
    media = Media.from_arrays("still", still(13), 24.0)
    assert np.ptp(store.embed(NEIGHBOURS, media)) < 1e-6
    assert static_filter(media, Prompt(), store).value == 1
    assert dynamic_degree(media, Prompt(), store).value == 0


@pytest.mark.slow
@pytest.mark.parametrize(("weights", "static"), [("small_", True), ("", False)])
def test_a_still_is_static_unless_the_network_sees_motion_in_it(
    weights: str, static: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The goldens' weights are random: with long flow even equal frames move, as the reference's do."""
    module = loaded(published(weights), tmp_path / "raft.pth", monkeypatch)
    (speeds,) = NEIGHBOURS.run(module, [ClipInput((still(5),))])
    assert np.ptp(speeds) < 1e-4
    assert StaticRule.of(136, 148, 5).holds(speeds) == static == golden("dynamic_degree")["clip_f"][f"{weights}static"]


def test_flow_is_the_last_prediction_of_torchvision(reduced: Any) -> None:
    pictures = torch.rand(2, 2, 3, 128, 136, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = reduced(*pictures, num_flow_updates=network.UPDATES)[-1]
        torch.testing.assert_close(network.flow(reduced, *pictures), expected, atol=1e-6, rtol=1e-5)


def test_a_checkpoint_is_read_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = published("")
    del entries["module.fnet.conv2.bias"]
    entries["module.extra"] = torch.zeros(1)
    with pytest.raises(
        EnvironmentProblem, match=r"1 missing keys \(feature_encoder.conv.bias\); 1 unknown keys \(extra"
    ):
        loaded(entries, tmp_path / "raft.pth", monkeypatch)


@pytest.mark.long
def test_a_clip_has_the_same_speeds_in_any_company(reduced: Any) -> None:
    clips = [ClipInput((noise(count, width=width, seed=count),)) for count, width in ((3, 141), (1, 141), (2, 130))]
    for encoder in (EIGHTHS, NEIGHBOURS):
        together = encoder.run(reduced, clips)
        for clip, speeds in zip(clips, together, strict=True):
            np.testing.assert_array_equal(encoder.run(reduced, [clip])[0], speeds)
    assert [len(speeds) for speeds in together] == [4, 2, 3]


def test_pairs_in_one_batch_equal_each_alone(reduced: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = ClipInput((noise(4),))
    (alone,) = NEIGHBOURS.run(reduced, [clip])
    monkeypatch.setattr(encoders, "batch_for", lambda device, cpu, gpu: gpu)
    np.testing.assert_allclose(NEIGHBOURS.run(reduced, [clip])[0], alone, rtol=1e-5)


def test_pictures_too_small_for_a_flow_have_no_speeds(reduced: Any) -> None:
    """121 pixels are padded to 128, 120 are not."""
    sizes = [(120, 200), (200, 120), (121, 121)]
    outputs = EIGHTHS.run(reduced, [ClipInput((noise(2, *size),)) for size in sizes])
    assert [len(speeds) for speeds in outputs] == [0, 0, 1]
    assert [encoders.large_enough(*size) for size in sizes] == [False, False, True]


def test_half_precision_is_not_used(reduced: Any) -> None:
    other = RAFT.load(LoadContext(WeightsConfig("keyed-random-reduced", precision="bf16"), "cpu"))
    clip = ClipInput((noise(2),))
    np.testing.assert_array_equal(EIGHTHS.run(other, [clip])[0], EIGHTHS.run(reduced, [clip])[0])
