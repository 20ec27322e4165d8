"""I3D against the reference's features, its preprocessing against torchvision's, and the two ranges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.clips import Clip
from avbench.encoders.base import ClipInput, LoadContext
from avbench.encoders.networks.i3d.encoders import I3D_BACKBONE, I3D_COMPAT, I3D_FIXED
from avbench.encoders.networks.i3d.letterbox import letterbox_224
from avbench.media import decode_clip
from avbench.weights.config import WeightsConfig

torch = pytest.importorskip("torch")

GOLDENS = Path(__file__).parents[3] / "goldens" / "metrics"
CLIPS = ["clip_a", "clip_b", "clip_c", "clip_d"]


def _load(weights: str, precision: str = "fp32") -> Any:
    return I3D_BACKBONE.load(LoadContext(WeightsConfig(weights=weights, precision=precision), "cpu"))


@pytest.fixture(scope="module")
def network() -> Any:
    return _load("keyed-random")


@pytest.fixture(scope="module")
def features() -> Any:
    return np.load(GOLDENS / "fvd_fad_features.npz")


def _frames(name: str, folder: Path) -> np.ndarray:
    (view,) = I3D_COMPAT.views
    return decode_clip(Clip(name, folder / f"{name}.mp4"), name, [view]).view(view)


def test_state_dict_is_that_of_the_checkpoint(network, golden: Callable[[str], Any]):
    found = {key: list(entry.shape) for key, entry in network.state_dict().items()}
    assert found == golden("state_dict_keys/i3d")


@pytest.mark.parametrize("name", CLIPS)
def test_frames_equal_the_reference(name, features, golden_clips):
    frames = _frames(name, golden_clips)
    assert frames.shape == (24, 224, 224, 3)
    half = (frames.astype(np.int64) + 255) // 2  # what the range error makes of them
    small = half.transpose(0, 3, 1, 2)[::8, :, ::16, ::16]
    assert np.abs(small - features[f"{name}_video_u8_small"].astype(np.int64)).max() <= 1
    np.testing.assert_allclose(half.mean(axis=(1, 2)), features[f"{name}_video_u8_sum"], atol=0.01)


@pytest.mark.parametrize(
    "name",
    [
        "clip_a",
        "clip_c",
        pytest.param("clip_b", marks=pytest.mark.slow),
        pytest.param("clip_d", marks=pytest.mark.slow),
    ],
)
def test_logits_equal_the_reference(name, network, features, golden_clips):
    (logits,) = I3D_COMPAT.run(network, [ClipInput((_frames(name, golden_clips),))])
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, features[f"{name}_logits"][0], atol=2e-3)


def test_fixed_range_reaches_from_minus_one_to_one():
    seen: list[Any] = []

    class Spy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, clips):
            seen.append(clips)
            return clips.mean(dim=(2, 3, 4))

    frames = np.zeros((24, 224, 224, 3), dtype=np.uint8)
    frames[0] = 255
    I3D_FIXED.run(Spy(), [ClipInput((frames,))])
    I3D_COMPAT.run(Spy(), [ClipInput((frames,))])
    fixed, compat = seen
    assert fixed.shape == (1, 3, 24, 224, 224)
    assert (fixed.min(), fixed.max()) == (-1, 1)
    assert compat.min() == pytest.approx(-0.0039216, abs=1e-6)  # 127 of 255, as in the reference
    assert compat.max() == 1


@pytest.mark.parametrize("size", [(96, 128), (400, 300), (224, 224), (7, 500), (1, 3000), (1, 1), (333, 222)])
def test_letterbox_equals_torchvision(size):
    transforms = pytest.importorskip("torchvision.transforms.v2.functional")
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    height, width = size
    rows, columns = max(224 * height // max(size), 1), max(224 * width // max(size), 1)
    values = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
    scaled = transforms.resize(values, [rows, columns], antialias=True)
    top, left = (224 - rows) // 2, (224 - columns) // 2
    boxed = transforms.pad(scaled, [left, top, 224 - columns - left, 224 - rows - top])
    expected = (boxed * 255 + 1e-3).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    difference = np.abs(letterbox_224(picture).astype(int) - expected)
    assert difference.max() <= 1  # where float32 rounds to the other side of an integer
    assert (difference > 0).mean() < 0.002


@pytest.mark.parametrize("size", [(9, 12), (720, 1280), (50, 20)])
def test_flat_areas_stay_what_they_were(size):
    for value in (1, 2, 85, 127, 128, 254, 255):
        boxed = letterbox_224(np.full((*size, 3), value, dtype=np.uint8))
        assert set(np.unique(boxed)) == {0, value}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.long
def test_small_network_embeds_clips_one_by_one_as_together(precision):
    network = _load("keyed-random-reduced", precision)
    frames = np.random.default_rng(2).integers(0, 256, (2, 24, 224, 224, 3), dtype=np.uint8)
    clips = [ClipInput((clip,)) for clip in frames]
    together = I3D_FIXED.run(network, clips)
    alone = [I3D_FIXED.run(network, [clip])[0] for clip in clips]
    assert [output.shape for output in together] == [(400,), (400,)]
    assert together[0].dtype == np.float32
    np.testing.assert_allclose(together, alone, rtol=1e-2 if precision == "bf16" else 1e-4, atol=1e-4)
    assert np.abs(together[0] - together[1]).max() > 0
