# ruff: noqa: E402
"""AMT-S against the reference implementation, and what its guesses must be whatever the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import vbench_goldens as vbench
from keyed_entries import keyed_entries
from vbench_goldens import arrays_of, checkpoint_entries, entries_of, golden

from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.networks.amt import correlation, encoders, network
from avbench.encoders.networks.amt.encoders import AMT_S, GUESSES
from avbench.encoders.pixels import cropped, replicate_padded
from avbench.errors import EnvironmentProblem
from avbench.metrics.vbench_motion_smoothness import smoothness

REDUCED = LoadContext(WeightsConfig("keyed-random-reduced"), "cpu")


def published() -> dict[str, Any]:
    """The checkpoint of the goldens: small slopes of the PReLUs."""
    return keyed_entries(checkpoint_entries("amt_s"), slope=0.25)


def loaded(entries: dict[str, Any], path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    torch.save({"state_dict": entries}, path)
    monkeypatch.setattr(network, "files", lambda row, setup: {path.name: path})
    return AMT_S.load(LoadContext(WeightsConfig(), "cpu"))


@pytest.fixture(scope="module")
def reduced() -> Any:
    return AMT_S.load(REDUCED)


@pytest.fixture(scope="module")
def blend() -> Any:
    """All weights zero: no flow, and both pictures weigh the same."""
    module = network.AMT(network.REDUCED).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    return module


def frames_of(name: str) -> Any:
    return vbench.media(name).frames


def noise(frames: int, height: int = 130, width: int = 141, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3)).astype(np.uint8)


def differences(module: Any, *clips: Any) -> list[Any]:
    return list(GUESSES.run(module, [ClipInput((frames,)) for frames in clips]))


@pytest.mark.parametrize("name", ["clip_e", "clip_f", "bbb6", "clip_a16"])
def test_pairs_and_padding_are_the_references(name: str) -> None:
    facts, frames = golden("motion_smoothness")[name], frames_of(name)
    assert len(encoders.guessed(len(frames))) == facts["pairs"]
    assert list(padded(frames[0]).shape[2:]) == facts["padded"]


def padded(frame: Any) -> Any:
    return replicate_padded(torch.from_numpy(frame).permute(2, 0, 1)[None] / 255, 16)


def test_entries_are_those_of_the_published_checkpoint() -> None:
    assert entries_of(network.AMT) == checkpoint_entries("amt_s")


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("clip_e", "bbb6")]


@pytest.mark.parametrize("name", ["clip_f", *SLOW])
def test_a_pair_equals_the_reference(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded(published(), tmp_path / "amt.pth", monkeypatch)
    outputs = {}
    for part in ("feat_encoder", "decoder4"):
        getattr(module, part).register_forward_hook(lambda _, inputs, output, part=part: outputs.update({part: output}))
    flows, compute = [], module._fields

    def fields(pictures: Any) -> Any:
        flows.append(compute(pictures))
        return flows[-1]

    monkeypatch.setattr(module, "_fields", fields)
    frames, expected = frames_of(name), arrays_of("motion_smoothness", name)
    with torch.inference_mode():
        guess = module(padded(frames[0]), padded(frames[2]))
    np.testing.assert_allclose(guess[0, :, 4::16, 4::16], expected["pred_sub"][0], atol=1e-5)
    np.testing.assert_allclose(outputs["feat_encoder"][0, ::12, ::4, ::4], expected["fmap0_sub"], atol=1e-4)
    np.testing.assert_allclose(outputs["decoder4"][0, :4, ::2, ::2], expected["flow4_pair0"], atol=1e-4)
    fine = flows[0][0][0].flatten(0, 2)[:, 4::16, 4::16]
    np.testing.assert_allclose(fine, expected["flow1_pair0_sub"], atol=1e-4)
    np.testing.assert_allclose(guess.mean((2, 3))[0], expected["pred_mean"][0], atol=1e-5)
    np.testing.assert_allclose(differences(module, frames[:3])[0][0, 0], expected["diff"][0], atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip_e", "clip_f", "bbb6"])
def test_clips_equal_the_reference(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = loaded(published(), tmp_path / "amt.pth", monkeypatch)
    frames, expected = frames_of(name), arrays_of("motion_smoothness", name)
    (found,) = differences(module, frames)
    np.testing.assert_allclose(found[:, 0], expected["diff"], atol=2e-3)
    assert smoothness(found[:, 0]) == pytest.approx(golden("motion_smoothness")[name]["score"], abs=1e-5)
    for pair, subset in enumerate(expected["pred_sub"]):
        with torch.inference_mode():
            guess = module(padded(frames[2 * pair]), padded(frames[2 * pair + 2]))
        np.testing.assert_allclose(guess[0, :, 4::16, 4::16], subset, atol=1e-5)
        np.testing.assert_allclose(guess.mean((2, 3))[0], expected["pred_mean"][pair], atol=1e-5)


def test_a_guess_of_a_small_picture_is_black_as_in_the_reference(reduced: Any) -> None:
    (found,) = differences(reduced, frames_of("clip_a16"))
    np.testing.assert_allclose(
        found, arrays_of("motion_smoothness", "clip_a16")["diff"][:, None].repeat(2, 1), atol=2e-3
    )
    assert smoothness(found[:, 0]) == pytest.approx(golden("motion_smoothness")["clip_a16"]["score"], abs=1e-5)


@pytest.mark.parametrize(("size", "fits"), [((112, 300), False), ((300, 112), False), ((113, 113), True)])
def test_padding_decides_which_pictures_are_small(size: tuple[int, int], fits: bool) -> None:
    """113 pixels are padded to 128."""
    assert encoders.large_enough(*size) == fits


def test_a_checkpoint_is_read_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = published()
    entries["comb_block.3.bias"] = entries.pop("comb_block.2.bias")
    with pytest.raises(EnvironmentProblem, match=r"1 missing keys \(comb_block.2.bias\); 1 unknown keys"):
        loaded(entries, tmp_path / "amt.pth", monkeypatch)


def test_without_flow_the_guess_is_the_mean_of_both_pictures(blend: Any) -> None:
    frames = noise(3)
    with torch.inference_mode():
        guess = cropped(blend(padded(frames[0]), padded(frames[2])), 130, 141, 16)[0].permute(1, 2, 0)
    np.testing.assert_allclose(guess, (frames[0] / 255 + frames[2] / 255) / 2, atol=2e-5)


def test_a_still_clip_is_guessed_perfectly(blend: Any) -> None:
    """Up to the cut to whole levels, which may take one level of any value."""
    (found,) = differences(blend, noise(1)[[0] * 7])
    assert found.shape == (3, 2)
    assert found[:, 1].tolist() == [0.0, 0.0, 0.0]
    assert found[:, 0].max() <= 1.0


def test_time_runs_both_ways(blend: Any) -> None:
    frames = noise(7)
    forwards, backwards = differences(blend, frames, frames[::-1])
    np.testing.assert_array_equal(forwards, backwards[::-1])


@pytest.mark.slow
def test_a_clip_is_as_smooth_backwards_with_the_weights_of_the_goldens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly: which of two pictures comes first makes a difference of 0.0003 to this network."""
    module = loaded(published(), tmp_path / "amt.pth", monkeypatch)
    frames = frames_of("clip_f")[:7]
    forth, back = (smoothness(found[:, 0]) for found in differences(module, frames, frames[::-1].copy()))
    assert forth == pytest.approx(back, abs=5e-4)
    assert forth < 0.95


def test_a_last_frame_without_successor_is_left_out(reduced: Any) -> None:
    frames = noise(6)
    even, odd, short = differences(reduced, frames, frames[:5], frames[:2])
    np.testing.assert_array_equal(even, odd)
    assert (len(even), len(short)) == (2, 0)


def test_a_clip_has_the_same_differences_in_any_company(reduced: Any) -> None:
    clips = [noise(5), noise(1), noise(3, width=160, seed=1)]
    for frames, together in zip(clips, differences(reduced, *clips), strict=True):
        np.testing.assert_array_equal(differences(reduced, frames)[0], together)


def test_pairs_in_one_batch_equal_each_alone(reduced: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (alone,) = differences(reduced, noise(7))
    monkeypatch.setattr(encoders, "batch_for", lambda device, cpu, gpu: gpu)
    np.testing.assert_allclose(differences(reduced, noise(7))[0], alone, atol=2e-3)


def test_correlations_row_by_row_equal_those_at_once(reduced: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = differences(reduced, noise(3))
    monkeypatch.setitem(correlation.BLOCK, "cpu", 1)
    np.testing.assert_allclose(differences(reduced, noise(3))[0], whole, atol=2e-3)


def test_windows_hold_products_of_features() -> None:
    """At the finest scale, and the means of two by two positions at the next; outside there is nothing."""
    generator = torch.Generator().manual_seed(0)
    queries, targets = (torch.randn(2, 9, 4, 6, generator=generator) for _ in range(2))
    centres = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1).expand(2, 2, 4, 6)
    found = correlation.WindowCorrelation(queries, targets, levels=2, radius=1).at(centres)
    products = (queries[..., None, None] * targets[:, :, None, None]).sum(dim=1) / 3  # (B, y, x, v, u)
    assert found.shape == (2, 18, 4, 6)
    torch.testing.assert_close(found[:, 4], products[..., 1, 2])
    torch.testing.assert_close(found[:, 5], products[..., 2, 2])  # y + 1
    torch.testing.assert_close(found[:, 7], products[..., 1, 3])  # x + 1
    outside = correlation.WindowCorrelation(queries, targets, levels=1, radius=1).at(centres - 9)
    assert not outside.any()
    coarse = correlation.WindowCorrelation(queries, targets, levels=2, radius=0).at(torch.zeros(2, 2, 4, 6))
    torch.testing.assert_close(coarse[:, 1], products[..., :2, :2].mean((-2, -1)))


def test_half_precision_is_not_used(reduced: Any) -> None:
    other = AMT_S.load(LoadContext(WeightsConfig("keyed-random-reduced", precision="bf16"), "cpu"))
    np.testing.assert_array_equal(differences(other, noise(3))[0], differences(reduced, noise(3))[0])
