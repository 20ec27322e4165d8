"""The four dimensions of objects: both modes on the same detections, from clip to score, and what gets no number."""

from __future__ import annotations

import re

import numpy as np
import pytest

from avbench.clips import Expected, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.grit.detections import Detection, from_array, to_array
from avbench.encoders.networks.grit.encoders import GRIT, GRIT_ANTIALIAS, GRIT_ROUNDED
from avbench.media import Media
from avbench.metrics.base import Scorer, registry
from avbench.metrics.vbench_dimensions import DIMENSIONS
from avbench.metrics.vbench_objects import (
    color,
    color_compat,
    multiple_objects,
    multiple_objects_antialias_compat,
    object_class,
    object_class_antialias_compat,
    spatial_relationship,
    spatial_relationship_antialias_compat,
    spatial_relationship_compat,
)
from avbench.metrics.vbench_totals import is_left_out

SMOOTHED = {
    object_class: object_class_antialias_compat,
    multiple_objects: multiple_objects_antialias_compat,
    spatial_relationship_compat: spatial_relationship_antialias_compat,
}
METRICS = [object_class, multiple_objects, color, color_compat, spatial_relationship, spatial_relationship_compat]
LEFT, RIGHT = (0, 0, 10, 10), (50, 0, 60, 10)
NOISE = np.random.default_rng(0).integers(0, 256, (20, 64, 80, 3), dtype=np.uint8)


class Given:
    """A store that has seen these frames of detections, and remembers which encoder was asked."""

    def __init__(self, *frames: list[Detection]) -> None:
        self.frames = frames
        self.asked: list[str] = []

    def embed(self, encoder, media, prompt=None):
        self.asked.append(encoder.name)
        return to_array(self.frames)


def clip(frames: np.ndarray = NOISE) -> Media:
    return Media.from_arrays(f"{frames.shape} {frames.sum()}", frames, 24.0)


def expecting(text: str | None = None, **expected: str) -> Prompt:
    return Prompt(text, expected=Expected(**expected))


def judge(metric, prompt: Prompt, *frames: list[Detection]):
    return metric(clip(), prompt, Given(*frames))


def test_objects_are_counted_over_frames():
    dog, cat = Detection(LEFT, "dog"), Detection(RIGHT, "cat")
    frames = [dog, cat], [dog], [], [dog, dog]
    assert judge(object_class, expecting(objects="dog"), *frames).value == 0.75
    assert judge(object_class, expecting(objects=" Cat "), *frames).value == 0.25
    score = judge(multiple_objects, expecting(objects="cat and dog"), *frames)
    assert (score.value, score.detail["frames_with"], score.detail["frames"]) == (0.25, 1, 4)


def test_modes_of_color_differ_where_a_quirk_acts():
    by_own_name = [Detection(LEFT, "dog", "a brown dog"), Detection(RIGHT, "car", "a red car")]
    within_word = [Detection(LEFT, "car", "a colored car")]
    prompt = expecting("a red car", color="red")
    assert judge(color, prompt, by_own_name).value == 1
    assert "no frame shows 'car'" in judge(color_compat, prompt, by_own_name).reason
    assert judge(color, prompt, within_word).status == "skipped"
    assert judge(color_compat, prompt, within_word).value == 1


@pytest.mark.parametrize("scorer", [color, color_compat], ids=lambda scorer: scorer.name)
def test_a_clip_without_the_object_is_left_out_of_the_totals(scorer: Scorer):
    dimension = next(each for each in DIMENSIONS if each.name == "color")
    absent = judge(scorer, expecting("a red car", color="red"), [Detection(LEFT, "dog", "a red dog")])
    unknown = judge(scorer, expecting("a red car"), [Detection(LEFT, "dog", "a red dog")])
    assert is_left_out(dimension, absent)
    assert not is_left_out(dimension, unknown)


def test_modes_of_color_take_the_object_from_different_places():
    frame = [Detection(LEFT, "car", "a white car")]
    assert judge(color, expecting(color="white", objects="car"), frame).value == 1
    assert "takes the object from it" in judge(color_compat, expecting(color="white", objects="car"), frame).reason
    sentence = expecting("a zebra in white", color="white", objects="car")
    assert judge(color, sentence, frame).value == 1
    assert "no frame shows 'zebrin'" in judge(color_compat, sentence, frame).reason


def test_colors_that_only_the_fixed_mode_knows():
    frame, prompt = [Detection(LEFT, "car", "a brown car")], expecting("a brown car", color="brown")
    assert judge(color, prompt, frame).value == 1
    assert "none of the colours that VBench knows" in judge(color_compat, prompt, frame).reason


def test_modes_of_relations_differ_where_a_quirk_acts():
    dog, cat, second = Detection(LEFT, "dog"), Detection(RIGHT, "cat"), Detection(RIGHT, "dog")
    for relation, fixed in (("on the left of", 1), ("on the right of", 0), ("on the top of", 0)):
        prompt = expecting(relation=f"dog | {relation} | cat")
        assert judge(spatial_relationship, prompt, [dog, cat], []).value == fixed / 2
        compat = judge(spatial_relationship_compat, prompt, [dog, cat], [])
        assert compat.value == (0 if "top" in relation else 0.5)
    prompt = expecting(relation="dog | on the left of | cat")
    assert judge(spatial_relationship, prompt, [dog, second]).value == 0
    assert judge(spatial_relationship_compat, prompt, [dog, second]).value == 1


def test_boxes_without_area_end_the_reference_only():
    flat = [Detection((5, 5, 5, 9), "dog"), Detection((50, 5, 50, 9), "cat")]
    prompt = expecting(relation="dog | on the left of | cat")
    assert judge(spatial_relationship, prompt, flat).value == 0
    assert "without area" in judge(spatial_relationship_compat, prompt, flat).reason


def asking_all(metric: Scorer) -> Prompt:
    objects = "dog and cat" if metric.name.startswith("multiple") else "dog"
    return expecting("a red dog", objects=objects, color="red", relation="dog | on the left of | cat")


def encoders_of(metric: Scorer) -> list[str]:
    store = Given([Detection(LEFT, "dog", "a red dog")])
    assert metric(clip(), asking_all(metric), store).status == "ok"
    return store.asked


def test_modes_of_color_see_large_frames_differently():
    assert [encoders_of(metric) for metric in METRICS] == [[GRIT.name]] * 3 + [[GRIT_ROUNDED.name]] + [[GRIT.name]] * 2


@pytest.mark.parametrize(("metric", "smoothed"), SMOOTHED.items(), ids=lambda metric: metric.name)
def test_the_flag_smooths_large_frames_and_changes_nothing_else(metric: Scorer, smoothed: Scorer):
    assert encoders_of(smoothed) == [GRIT_ANTIALIAS.name]
    assert smoothed.encoders == (GRIT_ANTIALIAS,)
    assert "grit_antialias" in dict(smoothed.params)["flags"]
    assert "grit_antialias" not in dict(metric.params).get("flags", "")
    frames = [Detection(LEFT, "dog"), Detection(RIGHT, "cat")], [Detection(LEFT, "dog"), Detection(RIGHT, "dog")], []
    assert judge(smoothed, asking_all(metric), *frames) == judge(metric, asking_all(metric), *frames)


@pytest.mark.parametrize(
    ("metric", "prompt", "reason"),
    [
        (object_class, expecting("a dog"), "names no object; manifest column prompt_objects"),
        (object_class, expecting(objects="dog and cat"), "looks for one object"),
        (object_class, expecting(objects="dgo"), "no class of COCO.*dog"),
        (multiple_objects, expecting(objects="dog"), "looks for two objects"),
        (multiple_objects, expecting(objects="dog and unicorn"), "'unicorn' is no class of COCO"),
        (color, expecting("a red car"), "names no colour; manifest column prompt_color"),
        (color, expecting(color="red"), "names no object"),
        (color, expecting("a red dragon", color="red"), "'dragon' is no class"),
        (color_compat, expecting("a red car"), "names no colour"),
        (spatial_relationship, expecting("a dog"), "names no relation; manifest column prompt_relation"),
        (spatial_relationship, expecting(relation="dog | behind | cat"), "no relation of two objects"),
        (spatial_relationship, expecting(relation="dog"), "no relation of two objects"),
        (spatial_relationship_compat, expecting(relation="dgo | on the top of | cat"), "'dgo' is no class"),
    ],
)
def test_prompts_that_ask_for_nothing_known_are_skipped_without_the_network(metric, prompt, reason):
    store = Given([])
    score = metric(clip(), prompt, store)
    assert score.status == "skipped"
    assert re.search(reason, score.reason), score.reason
    assert store.asked == []


@pytest.fixture(scope="module")
def store():
    pytest.importorskip("torchvision")
    return EncoderStore(setup=WeightsConfig("keyed-random-reduced"))


@pytest.mark.parametrize("shape", [(1, 40, 40), (3, 64, 16), (17, 16, 64)])
def test_clips_of_any_shape_get_a_number(shape, store):
    frames = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    score = object_class(clip(frames), expecting(objects="dog"), store)
    assert score.status == "ok"
    assert score.detail["frames"] == 16


def test_names_of_a_still_come_from_the_network(store):
    still = clip(NOISE[1:2])
    found = from_array(store.embed(GRIT, still))
    assert all(frame == found[0] for frame in found)
    names = {detection.name for detection in found[0]}
    assert "dog" in names  # of the stand-in vocabulary
    for name in ("dog", "toaster"):
        assert object_class(still, expecting(objects=name), store).value == (name in names)


def test_all_are_registered_in_one_family():
    assert {registry()[metric.name].family for metric in [*METRICS, *SMOOTHED.values()]} == {"vbench"}
