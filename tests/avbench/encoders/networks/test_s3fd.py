# ruff: noqa: E402
"""S3FD against the reference implementation at equal weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from speech_goldens import arrays, golden

from avbench.encoders import LoadContext, WeightsConfig
from avbench.encoders.networks.s3fd import network
from avbench.encoders.networks.s3fd.faces import anchors, candidates, decoded, faces_among, find_faces, network_input
from avbench.encoders.non_maximum import kept
from avbench.errors import EnvironmentProblem

GOLDEN, ARRAYS = golden("s3fd"), arrays("s3fd")


@pytest.fixture(scope="module")
def reduced() -> Any:
    return network.load(LoadContext(WeightsConfig("keyed-random-reduced"), "cpu"))


def test_entries_are_those_of_the_published_checkpoint() -> None:
    with torch.device("meta"):
        entries = {name: list(entry.shape) for name, entry in network.S3FD().state_dict().items()}
    assert entries == golden("s3fd_keys")


def test_output_equals_the_reference() -> None:
    module = network.load(LoadContext(WeightsConfig("keyed-random"), "cpu"))
    picture = ARRAYS["kitchen_30_rgb"]
    with torch.inference_mode():
        pixels = torch.from_numpy(picture - np.array([123, 117, 104], np.float32))
        assert pixels.mean(dim=(0, 1)).numpy() == pytest.approx(ARRAYS["kitchen_30_input_mean"], abs=1e-3)
        offsets, logits, maps = module(pixels.permute(2, 0, 1)[None])
    priors = anchors(*picture.shape[:2], maps)
    boxes = decoded(offsets[0].numpy(), priors)
    scores = logits[0].softmax(dim=-1)[:, 1].numpy()
    assert len(priors) == GOLDEN["kitchen_30"]["priors"]
    for name, found in (("loc", offsets[0]), ("logit", logits[0]), ("decoded", boxes)):
        expected = ARRAYS[f"kitchen_30_{name}_sub"]
        assert np.abs(np.asarray(found)[::37] - expected).max() < 2e-3 * np.abs(expected).max(), name
    np.testing.assert_allclose(priors[::37], ARRAYS["kitchen_30_prior_sub"], atol=1e-6)
    np.testing.assert_allclose(scores[::37], ARRAYS["kitchen_30_prob_sub"], atol=2e-3)


def test_detections_of_given_output() -> None:
    priors = anchors(GOLDEN["logic"]["H"], GOLDEN["logic"]["W"], GOLDEN["logic"]["feature_maps"])
    found = candidates(decoded(ARRAYS["logic_loc"], priors), ARRAYS["logic_prob"])
    np.testing.assert_allclose(found, ARRAYS["logic_detect"], atol=1e-5)
    for confidence, name in ((0.9, "0p9"), (0.5, "0p5")):
        faces = faces_among(found, 4 * 128, 4 * 192, confidence)
        np.testing.assert_allclose(faces, ARRAYS[f"logic_faces_conf_{name}"], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("overlap", ["0.1", "0.3", "0.5"])
def test_suppression_equals_the_reference(overlap: str) -> None:
    boxes = ARRAYS["nms_boxes"]
    assert kept(boxes[:, :4], boxes[:, 4], float(overlap)) == GOLDEN[f"nms_keep_{overlap}"]


def test_input_is_a_quarter_less_the_mean_colour() -> None:
    frame = np.full((130, 201, 3), (200, 150, 100), dtype=np.uint8)
    pixels = network_input([frame, frame])
    assert pixels.shape == (2, 3, 32, 50)
    assert pixels[0, :, 0, 0].tolist() == [77, 33, -4]


def test_frames_in_one_batch_equal_each_alone(reduced: Any) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 140, 180, 3)).astype(np.uint8)
    together = find_faces(reduced, frames)
    for frame, faces in zip(frames, together, strict=True):
        np.testing.assert_allclose(find_faces(reduced, frame[None])[0], faces, rtol=1e-4)
    assert any(len(faces) for faces in together)


@pytest.mark.parametrize(("height", "found"), [(1, False), (109, False), (110, True)])
def test_frames_too_small_for_the_coarsest_map_have_no_faces(reduced: Any, height: int, found: bool) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (2, height, 400, 3)).astype(np.uint8)
    assert any(len(faces) for faces in find_faces(reduced, frames)) == found


def test_a_checkpoint_is_read_strictly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = network.S3FD(divisor=64).state_dict()
    path = tmp_path / "sfd_face.pth"
    torch.save(entries, path)
    monkeypatch.setattr(network, "files", lambda row, setup: {path.name: path})
    with pytest.raises(EnvironmentProblem, match="wrong shapes"):
        network.load(LoadContext(WeightsConfig(), "cpu"))
