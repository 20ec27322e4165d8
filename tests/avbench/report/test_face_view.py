"""Faces of a clip for the report: boxes relative to the frame, a bounded curve, nothing from other details."""

from __future__ import annotations

import json
from typing import Any

import pytest

from avbench.report.face_view import LEFT, MOST_FACES, MOST_POINTS, RIGHT, face_view

SIZE = (200, 100)
FACE = {"begin_s": 1.0, "end_s": 3.0, "boxes": [[20, 10, 60, 50], [40, 10, 80, 50]], "boxes_every_s": 1.0}
EARLY = FACE | {"begin_s": 0.0, "end_s": 4.0, "boxes": [[100, 0, 150, 100]], "boxes_every_s": 4.0}
CURVE = {"framewise": [1.0, 3.0, -1.0], "framewise_begin_s": 1.0, "framewise_every_s": 0.5}
LIPS = {"faces": [EARLY, FACE], "chosen": 1, **CURVE}


def view(lips: dict[str, Any] | None, ratio: dict[str, Any] | None = None, size: Any = SIZE) -> dict[str, Any] | None:
    return face_view(None if lips is None else json.dumps(lips), None if ratio is None else json.dumps(ratio), size)


def test_boxes_are_fractions_of_the_frame_and_the_chosen_face_comes_first() -> None:
    drawn = view(LIPS)
    assert drawn is not None
    chosen, other = drawn["faces"]
    assert (chosen["chosen"], other["chosen"]) == (True, False)
    assert chosen["boxes"] == [(0.1, 0.1, 0.2, 0.4), (0.2, 0.1, 0.2, 0.4)]
    assert (chosen["begin"], chosen["end"], chosen["every"]) == (1.0, 3.0, 1.0)
    assert drawn["label"] == "2 faces; the lips of the marked one count"


def test_bars_and_curve_share_an_axis() -> None:
    drawn = view(LIPS)
    assert drawn is not None
    chosen, other = drawn["faces"]
    assert (other["from"], other["to"]) == (LEFT, RIGHT)
    quarter = (RIGHT - LEFT) / 4
    assert (chosen["from"], chosen["to"]) == pytest.approx((LEFT + quarter, LEFT + 3 * quarter), abs=0.1)
    points = [tuple(map(float, point.split())) for point in drawn["curve"]["d"][1:].split("L")]
    assert [x for x, _ in points] == pytest.approx([LEFT + quarter * (1.25 + 0.5 * i) for i in range(3)], abs=0.1)
    low, high = points[2][1], points[1][1]
    assert high < drawn["curve"]["zero"] < low <= drawn["bottom"] < drawn["height"]
    assert drawn["curve"]["highest"] == "3"


def test_without_lips_the_faces_are_shown_alone() -> None:
    ratio = {"frames": 20, "faces": [FACE]}
    for lips in (None, {"faces": [], "chosen": 0}):
        drawn = view(lips, ratio)
        assert drawn is not None
        assert (drawn["label"], drawn["curve"], drawn["faces"][0]["chosen"]) == ("1 face", None, False)


def test_a_box_beyond_the_frame_ends_at_its_edge() -> None:
    drawn = view(None, {"faces": [FACE | {"boxes": [[-50, -1e308, 300, 40]]}]})
    assert drawn is not None
    assert drawn["faces"][0]["boxes"] == [(0.0, 0.0, 1.0, 0.4)]


@pytest.mark.long
def test_many_faces_and_points_stay_few() -> None:
    long = FACE | {"boxes": FACE["boxes"] * 500}  # type: ignore[operator]
    drawn = view({"faces": [long] * 500, "chosen": 400, **CURVE, "framewise": [1.0, 2.0] * 500})
    assert drawn is not None
    assert len(drawn["faces"]) == MOST_FACES and drawn["faces"][0]["chosen"]
    assert len(drawn["faces"][0]["boxes"]) == MOST_POINTS
    assert drawn["curve"]["d"].count("L") == MOST_POINTS - 1


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": None}, {"boxes": []}, {"boxes": [[1, 2, 3]]}, {"boxes": [["1", 2, 3, 4]]}, {"boxes": ["abcd"]},
        {"boxes": [[1, 2, 10**400, 4]]}, {"begin_s": "x"}, {"begin_s": -1}, {"end_s": 1.0}, {"boxes_every_s": 0},
        {"boxes_every_s": None},
    ],
)  # fmt: skip
def test_a_face_that_fits_no_form_is_left_out(change: dict[str, Any]) -> None:
    assert view(None, {"faces": [FACE | change]}) is None
    drawn = view(None, {"faces": [FACE | change, FACE]})
    assert drawn is not None and len(drawn["faces"]) == 1


@pytest.mark.parametrize("detail", ["", "[]", "{}", "null", '{"faces": 3}', '{"faces": [3]}', "[" * 100_000])
def test_other_details_give_nothing(detail: str) -> None:
    assert face_view(detail, detail, SIZE) is None


@pytest.mark.parametrize("size", [(None, None), (0, 100), ("200", 100), (float("nan"), 100)])
def test_without_the_size_of_the_frame_nothing_is_drawn(size: Any) -> None:
    assert view(LIPS, None, size) is None


@pytest.mark.parametrize(
    "change",
    [{"framewise": "12"}, {"framewise": [1.0]}, {"framewise": [1.0, "a"]}, {"framewise_every_s": 0},
     {"framewise_begin_s": None}],
)  # fmt: skip
def test_a_curve_that_fits_no_form_is_left_out(change: dict[str, Any]) -> None:
    drawn = view(LIPS | change)
    assert drawn is not None and drawn["curve"] is None and len(drawn["faces"]) == 2


@pytest.mark.parametrize("chosen", [None, -1, 2, "1", True, 1.0])
def test_no_face_is_marked_by_another_kind_of_number(chosen: Any) -> None:
    drawn = view(LIPS | {"chosen": chosen})
    assert drawn is not None and not any(face["chosen"] for face in drawn["faces"])
