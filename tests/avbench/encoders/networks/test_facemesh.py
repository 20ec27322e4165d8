# ruff: noqa: E402
"""FaceMesh: mouths are followed through a clip; with the trained weights, points and openings of the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import face_material
from speech_goldens import arrays, golden

from avbench.clips import Clip
from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.networks.facemesh.encoders import FACE_MESH, MOUTHS, MouthReader, cut_out
from avbench.encoders.networks.facemesh.network import FaceMesh, file_order
from avbench.encoders.networks.facemesh.tflite import float_constants
from avbench.errors import EnvironmentProblem
from avbench.media import VideoInfo, decode_clip

CLIPS = Path(__file__).parents[4] / "examples" / "clips"
EXPECTED = golden("real_mesh")


class Shown(MouthReader):
    """Finds a face at a place that a frame's first pixel says, or none; its mouth is as open as the frame is bright."""

    def faces(self, frame: Any) -> Any:
        left = float(frame[0, 0, 0])
        return np.array([[left, 10, left + 40, 60]]) if left else np.zeros((0, 4))

    def mouths(self, crops: Any) -> Any:
        return np.array([[crop.max() / 255, 5.0] for crop in crops], np.float32).reshape(-1, 2)


def clip(lefts: list[int]) -> ClipInput:
    frames = np.full((len(lefts), 80, 120, 3), 100, np.uint8)
    frames[:, 0, 0, 0] = lefts
    return ClipInput((frames,), None, VideoInfo(np.arange(len(lefts)) / 10, 10.0, 120, 80))


def test_a_face_is_followed_between_the_frames_in_which_it_is_looked_for() -> None:
    (rows,) = MOUTHS.run(Shown(None, None), [clip([0] * 4 + [20] * 9)])
    assert rows[:, 1].tolist() == [4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert set(rows[:, 0]) == {0} and set(rows[:, 3]) == {5}


def test_one_look_is_no_face_and_a_clip_may_be_empty() -> None:
    assert [len(rows) for rows in MOUTHS.run(Shown(None, None), [clip([20, 0, 0, 0, 0]), clip([])])] == [0, 0]


def test_a_square_beyond_the_frame_is_black() -> None:
    white = np.full((100, 100, 3), 255, np.uint8)
    cut = cut_out(white, np.array([80.0, 40, 100, 60]))
    assert cut.shape == (192, 192, 3)
    assert cut[96, 20].tolist() == [255] * 3 and cut[96, 180].tolist() == [0] * 3


def test_any_weights_give_points_and_a_flag() -> None:
    reader = FACE_MESH.load(LoadContext(WeightsConfig("keyed-random"), "cpu"))
    crops = np.random.default_rng(0).integers(0, 256, (3, 192, 192, 3)).astype(np.uint8)
    together = reader.mouths(list(crops))
    assert together.shape == (3, 2) and np.isfinite(together).all() and (together[:, 0] >= 0).all()
    np.testing.assert_allclose(reader.mouths([crops[1]]), together[1:2], rtol=1e-4)


def test_the_order_of_the_file_names_every_entry_once() -> None:
    network = FaceMesh()
    names = file_order(network)
    assert sorted(names) == sorted(network.state_dict())
    assert names[-4:] == ["flag.3.weight", "flag.3.bias", "points.5.weight", "points.5.bias"]


@pytest.mark.parametrize("content", [b"", b"no file of this kind", bytes(64), b"\xff" * 64])
def test_another_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "face_landmark.tflite"
    path.write_bytes(content)
    with pytest.raises(EnvironmentProblem, match="no TensorFlow Lite file"):
        float_constants(path)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = face_material.weights_folder(tmp_path_factory.mktemp("weights"))
    return FACE_MESH.load(LoadContext(WeightsConfig(weights_dir=folder), "cpu"))


@pytest.mark.speech
class TestTrained:
    def test_points_equal_the_reference(self, reader: Any) -> None:
        crop = arrays("real_mesh")["ovi_two_men_t0_f60_crop"]
        points, flag = reader.network(torch.from_numpy(crop).permute(2, 0, 1)[None] / 255)
        (facts,) = (one for one in EXPECTED["ovi_two_men"]["frames"] if one["key"] == "ovi_two_men_t0_f60")
        assert points[0, ::6].numpy() == pytest.approx(arrays("real_mesh")["ovi_two_men_t0_f60_points"], abs=0.05)
        assert points[0, 13].numpy() == pytest.approx(np.array(facts["p13"]), abs=0.05)
        assert points[0, 14].numpy() == pytest.approx(np.array(facts["p14"]), abs=0.05)
        assert flag.item() == pytest.approx(facts["flag"], abs=0.05)

    @pytest.mark.parametrize("name", ["ovi_two_men", "ovi_dressing_room"])
    def test_mouths_of_a_clip(self, name: str, reader: Any) -> None:
        """The reference looks at each frame and at faces in each second one: here it is each third and each tenth."""
        media = decode_clip(Clip(name, CLIPS / f"{name}.mp4"), name, MOUTHS.views)
        frames = media.view(MOUTHS.views[0])
        (rows,) = MOUTHS.run(reader, [ClipInput((frames,), None, media.video)])
        faces = [rows[rows[:, 0] == number] for number in np.unique(rows[:, 0])]
        found = sorted((face[:, 2].std(), face[:, 3].mean()) for face in faces)
        expected = sorted((track["opening_sd"], track["flag_mean"]) for track in EXPECTED[name]["tracks"])
        assert len(found) == len(expected)
        for (motion, flag), (deviation, mean) in zip(found, expected, strict=True):
            assert flag == pytest.approx(mean, abs=2.5)
            assert motion == pytest.approx(deviation, abs=3e-3)

    def test_two_runs_are_equal_to_the_bit(self, reader: Any) -> None:
        crop = arrays("real_mesh")["ovi_two_men_t0_f60_crop"]
        np.testing.assert_array_equal(reader.mouths([crop]), reader.mouths([crop]))
