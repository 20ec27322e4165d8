"""Matching of detections with prompts: exactly the reference's numbers, and what the fixed rules change."""

from __future__ import annotations

import pytest
from vbench_goldens import golden

from avbench.encoders.networks.grit.detections import Detection, from_array, to_array
from avbench.metrics.vbench_matching import (
    color_frames,
    frames_showing,
    object_by_substrings,
    object_of,
    position_score,
    relation_scores,
)

LOGIC = golden("grit_logic")
LEFT, RIGHT, TOP, BOTTOM = (f"on the {side} of" for side in ("left", "right", "top", "bottom"))


def detections(*pairs):
    """Detections from (name, caption) or (name, box)."""
    return [
        Detection((0, 0, 9, 9), name, rest) if isinstance(rest, str) else Detection(tuple(rest), name)
        for name, rest in pairs
    ]


@pytest.mark.parametrize("dimension", ["object_class", "multiple_objects"])
def test_names_equal_the_reference(dimension):
    scores = []
    for video in LOGIC[dimension]["videos"]:
        success = frames_showing(video["frames"], video["object"].split(" and "))
        assert success == video["success"]
        scores.append(success / len(video["frames"]))
        assert scores[-1] == video["score"]
    assert sum(scores) / len(scores) == pytest.approx(LOGIC[dimension]["dataset"], abs=1e-9)


def test_colors_equal_the_reference():
    scores = []
    for video in LOGIC["color"]["videos"]:
        name = object_by_substrings(video["prompt"], video["color"])
        assert name == video["object_after_parsing"]
        frames = [detections(*zip(f["det_obj"], f["captions"], strict=True)) for f in video["frames"]]
        counts = color_frames(frames, name, video["color"], first_name=True, substrings=True)
        assert counts == (video["object_frames"], video["color_frames"])
        scores.append(counts[1] / counts[0])
    assert len(scores) == LOGIC["color"]["counted"]
    assert sum(scores) / len(scores) == pytest.approx(LOGIC["color"]["dataset"], abs=1e-9)


@pytest.mark.parametrize("case", LOGIC["color_parse"], ids=lambda case: case["prompt"])
def test_object_of_a_color_prompt(case):
    assert object_by_substrings(case["prompt"], case["color"]) == case["object"]


def test_object_in_whole_words():
    assert object_of("a zebra crossing", "white") == "zebra crossing"
    assert object_of("an orange orange", "orange") == ""
    assert object_of("the light blue car", "light blue") == "car"
    assert object_of("a red reddish vase", "red") == "reddish vase"


def test_relations_equal_the_reference():
    for case in LOGIC["position_score"]:
        score = position_score(case["relation"], case["a"], case["b"], unsigned=True)
        assert score == pytest.approx(case["score"], abs=1e-9)
    means = []
    for video in LOGIC["spatial_relationship"]["videos"]:
        scores = relation_scores(
            [detections(*frame) for frame in video["frames"]],
            video["object_a"], video["relationship"], video["object_b"],
            unsigned=True, same_name=True,
        )  # fmt: skip
        assert scores == pytest.approx(video["frame_scores"], abs=1e-9)
        means.append(sum(scores) / len(scores))
        assert means[-1] == pytest.approx(video["score"], abs=1e-9)
    for processes in ("dataset_single_process", "dataset_multi_process"):
        value = LOGIC["spatial_relationship"][processes]
        assert sum(means) / len(means) == pytest.approx(value, abs=1e-9)


def test_color_by_the_first_name_or_each_own():
    frame = detections(("dog", "a red ball"), ("car", "a blue car"))
    assert color_frames([frame], "car", "blue") == (1, 1)
    assert color_frames([frame], "car", "blue", first_name=True) == (0, 0)
    assert color_frames([frame], "dog", "blue") == (1, 0)
    assert color_frames([frame], "dog", "blue", first_name=True) == (1, 1)


def test_color_in_whole_words_or_within():
    frames = [detections(("car", "a colored car")), detections(("car", "a red car")), detections()]
    assert color_frames(frames, "car", "red") == (1, 1)
    assert color_frames(frames, "car", "red", substrings=True) == (2, 2)


def test_a_color_that_is_not_in_the_list_counts_as_one():
    assert color_frames([detections(("car", "a brown car"))], "car", "brown") == (1, 1)


@pytest.mark.parametrize(
    ("relation", "box"),
    [(LEFT, (50, 0, 60, 10)), (RIGHT, (-50, 0, -40, 10)), (TOP, (0, 50, 10, 60)), (BOTTOM, (0, -50, 10, -40))],
)  # fmt: skip
def test_direction_counts_unless_unsigned(relation, box):
    origin = (0, 0, 10, 10)
    assert position_score(relation, origin, box) == 1
    assert position_score(relation, box, origin) == 0
    assert position_score(relation, box, origin, unsigned=True) == 1
    across = {LEFT: TOP, RIGHT: TOP, TOP: LEFT, BOTTOM: LEFT}[relation]
    assert position_score(across, origin, box) == position_score(across, origin, box, unsigned=True) == 0


def test_overlap_costs():
    assert position_score(LEFT, (0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(0.1 / (50 / 150))


def test_a_pair_has_both_names_unless_told_otherwise():
    twins = detections(("cat", (0, 0, 10, 10)), ("cat", (50, 0, 60, 10)))
    assert relation_scores([twins, []], "cat", LEFT, "dog") == [0, 0]
    assert relation_scores([twins, []], "cat", LEFT, "dog", same_name=True) == [1, 0]


def test_the_best_pair_counts():
    frame = detections(("dog", (20, 0, 30, 10)), ("cat", (40, 0, 50, 10)), ("cat", (0, 0, 10, 10)))
    assert relation_scores([frame], "cat", LEFT, "dog") == [1]


def test_boxes_without_area():
    frame = detections(("cat", (5, 5, 5, 9)), ("dog", (50, 5, 50, 9)))
    assert relation_scores([frame], "cat", LEFT, "dog") == [0]
    with pytest.raises(ZeroDivisionError):
        relation_scores([frame], "cat", LEFT, "dog", same_name=True)


def test_detections_survive_as_an_array():
    found = [[Detection((1, 2, 3, 4), "naïve \N{KATAKANA LETTER KE}", "a dog"), Detection((0, 0, 0, 0), "")], []]
    array = to_array(found)
    assert array.ndim == 1
    assert from_array(array) == found
