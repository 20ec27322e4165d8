"""Tracks of faces against the reference implementation's, and what no reference says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from speech_goldens import golden

from avbench.encoders.face_tracks import face_tracks, intersections_over_unions
from avbench.encoders.networks.syncnet.crops import bounds, smoothed
from avbench.encoders.scene_cuts import scenes

CASES = golden("face_tracks")


def boxes_of(case: Any) -> list[np.ndarray]:
    return [np.array(boxes, dtype=float).reshape(-1, 4) for boxes in case["boxes"]]


@pytest.mark.parametrize("name", CASES)
def test_tracks_and_cuts_equal_the_reference(name: str) -> None:
    case = CASES[name]
    limits = case["params"]
    tracks = face_tracks(boxes_of(case), overlap=limits["iou"], gap=limits["num_failed_det"])
    chosen = [t for t in tracks if t.detections > limits["min_track"] and t.size > limits["min_face_size"]]
    assert [(t.first, t.last) for t in chosen] == [(e["first"], e["last"]) for e in case["tracks"]]
    for track, expected in zip(chosen, case["tracks"], strict=True):
        assert track.boxes[::10] == pytest.approx(np.array(expected["bbox_every_10"]), abs=1e-3)
        centres = smoothed(track.boxes)
        for key, field in (("x", "x"), ("y", "y"), ("s", "half")):
            assert [getattr(c, field) for c in centres[::5]] == pytest.approx(expected[key], abs=1e-3)
        assert [list(bounds(centre)) for centre in centres[::5]] == expected["crop_every_5"]


def test_a_scene_ends_a_track() -> None:
    faces = [np.array([[10.0, 10, 60, 60]])] * 20
    assert [(t.first, t.last) for t in face_tracks(faces)] == [(0, 19)]
    assert [(t.first, t.last) for t in face_tracks(faces, start=5, end=12)] == [(5, 11)]


def test_boxes_without_area_overlap_with_nothing() -> None:
    point = np.array([5.0, 5, 5, 5])
    assert intersections_over_unions(point[None], point).tolist() == [0]
    pair = np.array([[0.0, 0, 4, 2], [9, 9, 10, 10]])
    assert intersections_over_unions(pair, np.array([2.0, 0, 6, 2])) == pytest.approx([1 / 3, 0])


def test_after_a_hit_the_next_face_of_the_frame_is_passed_over() -> None:
    """Three boxes on one place: the first track takes the first and the third in every frame."""
    faces = [np.array([[0.0, 0, 10, 10], [0, 0, 10, 11], [0, 0, 10, 12]])] * 4
    assert [(track.first, track.detections) for track in face_tracks(faces)] == [(0, 8), (0, 4)]


def frames(levels: list[int], width: int = 40) -> np.ndarray:
    return np.array(levels, dtype=np.uint8)[:, None, None, None].repeat(20, 1).repeat(width, 2).repeat(3, 3)


@pytest.mark.parametrize("width", [40, 600])
def test_a_cut_is_a_jump_of_colours(width: int) -> None:
    """Value alone differs here, so 81 levels are 27 on average over hue, saturation and value."""
    assert scenes(frames([10] * 20 + [91] * 20, width)) == [(0, 20), (20, 40)]
    assert scenes(frames([10] * 20 + [90] * 20, width)) == [(0, 40)]


def test_a_scene_has_fifteen_frames() -> None:
    assert scenes(frames([10] * 14 + [200] * 20)) == [(0, 34)]
    assert scenes(frames([10] * 15 + [200] * 14 + [10] * 20)) == [(0, 15), (15, 49)]
    assert scenes(frames([])) == []
