# ruff: noqa: E402
"""MTCNN: what it must do with any weights; with trained ones the faces that the reference finds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import face_material
from speech_goldens import golden

from avbench.clips import Clip
from avbench.encoders import ClipInput, LoadContext, WeightsConfig
from avbench.encoders.networks.mtcnn.cascade import find_faces
from avbench.encoders.networks.mtcnn.encoders import FACES, MTCNN, shrunk
from avbench.errors import EnvironmentProblem
from avbench.media import All, Frames, VideoInfo, decode_clip

CLIPS = Path(__file__).parents[4] / "examples" / "clips"
EXPECTED = golden("real_mtcnn")
WIDE = Frames(All(), transform=shrunk)


def noise(frames: int, height: int, width: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def random() -> Any:
    return MTCNN.load(LoadContext(WeightsConfig("keyed-random"), "cpu"))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (12, 40), (19, 19), (24, 30), (40, 50)])
def test_any_picture_has_boxes_and_probabilities(random: Any, height: int, width: int) -> None:
    faces = find_faces(random, noise(1, height, width)[0])
    assert faces.shape[1] == 5
    assert np.isfinite(faces).all()
    assert ((faces[:, 4] > 0.7) & (faces[:, 4] <= 1)).all()


@pytest.mark.filterwarnings("error")
def test_frames_may_be_read_only(random: Any) -> None:
    frame = noise(1, 24, 30)[0]
    expected = find_faces(random, frame)
    frame.flags.writeable = False
    np.testing.assert_array_equal(find_faces(random, frame), expected)


def test_wide_frames_are_shrunk_and_boxes_are_not(random: Any) -> None:
    small = noise(1, 5, 160)[0]
    large = small.repeat(8, 0).repeat(8, 1)  # 1280 wide
    assert shrunk(small) is small
    assert shrunk(large).shape == (20, 640, 3)
    video = VideoInfo(np.zeros(1), 25.0, 1280, 40)
    (faces,) = FACES.run(random, [ClipInput((shrunk(large)[None],), None, video)])
    assert len(faces)
    np.testing.assert_allclose(faces[:, 1:5], 2 * find_faces(random, shrunk(large))[:, :4], rtol=1e-5)


def test_a_clip_has_the_same_faces_in_any_company(random: Any) -> None:
    clips = [
        ClipInput((noise(count, 24, 30),), None, VideoInfo(np.arange(count) / 5, 5.0, 30, 24)) for count in (2, 0, 1)
    ]
    together = FACES.run(random, clips)
    for clip, faces in zip(clips, together, strict=True):
        np.testing.assert_array_equal(FACES.run(random, [clip])[0], faces)
    assert together[1].shape == (0, 6)


def test_a_checkpoint_with_another_digest_is_refused(tmp_path: Path) -> None:
    for name in ("pnet.pt", "rnet.pt", "onet.pt"):
        (tmp_path / name).write_bytes(b"other")
    folder = tmp_path / "mtcnn"
    folder.mkdir()
    for name in ("pnet.pt", "rnet.pt", "onet.pt"):
        shutil.move(tmp_path / name, folder / name)
    with pytest.raises(EnvironmentProblem, match="damaged or another version"):
        MTCNN.load(LoadContext(WeightsConfig(weights_dir=tmp_path), "cpu"))


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("weights")
    shutil.copytree(face_material.mtcnn(), folder / "mtcnn")
    return MTCNN.load(LoadContext(WeightsConfig(weights_dir=folder), "cpu"))


@pytest.mark.speech
class TestTrained:
    @pytest.mark.parametrize("name", ["ovi_two_men", "ovi_dressing_room", "tears_of_steel_deck"])
    def test_faces_equal_the_reference(self, name: str, cascade: Any) -> None:
        frames = decode_clip(Clip(name, CLIPS / f"{name}.mp4"), name, [WIDE]).view(WIDE)
        scale = 1 / EXPECTED[name]["resized_by"]
        for entry in EXPECTED[name]["mtcnn"]:
            faces = find_faces(cascade, frames[entry["frame"]])
            boxes = np.array(entry["boxes"]).reshape(-1, 4)
            assert len(faces) == len(boxes)
            order = faces[:, 0].argsort()
            assert faces[order, :4] * scale == pytest.approx(boxes[boxes[:, 0].argsort()], abs=1)
            assert sorted(faces[:, 4]) == pytest.approx(sorted(entry["probs"]), abs=1e-3)

    def test_two_runs_are_equal_to_the_bit(self, cascade: Any) -> None:
        frame = cv2.resize(noise(1, 20, 30)[0], (300, 200))
        np.testing.assert_array_equal(find_faces(cascade, frame), find_faces(cascade, frame))
