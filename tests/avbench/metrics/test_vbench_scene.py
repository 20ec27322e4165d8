"""scene: its rule against the reference's, and its two modes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from vbench_goldens import golden

from avbench.clips import Expected, Prompt
from avbench.encoders import EncoderStore, WeightsConfig
from avbench.encoders.networks.tag2text.encoders import TAG2TEXT_CAPTIONS, to_bytes
from avbench.media import Media
from avbench.metrics.vbench_scene import scene, scene_compat, shows

CASES = golden("scene")["videos"]
BOTH = pytest.mark.parametrize("scorer", [scene, scene_compat], ids=lambda scorer: scorer.name)


class FixedStore(EncoderStore):
    """Gives the same captions for every clip."""

    def __init__(self, captions):
        super().__init__()
        self.captions = captions

    def embed(self, encoder, media, prompt=None):
        assert encoder is TAG2TEXT_CAPTIONS
        return to_bytes(self.captions)


def drawn(frames: int = 2, height: int = 40, width: int = 60) -> Media:
    pictures = np.random.default_rng(frames).integers(0, 256, (frames, height, width, 3)).astype(np.uint8)
    return Media.from_arrays(f"drawn {pictures.shape}", pictures, 24.0)


def expecting(place: str | None) -> Prompt:
    return Prompt("a place", expected=Expected(objects="dog", scene=place))


@pytest.mark.parametrize("case", CASES, ids=[case["scene"] for case in CASES])
def test_the_rule_equals_the_reference(case):
    score = scene(drawn(), expecting(case["scene"]), FixedStore(case["captions"]))
    assert score.value == case["score"]
    assert score.detail["shown"] == case["success"]


def test_the_mean_over_clips_equals_the_reference():
    scores = [scene(drawn(), expecting(case["scene"]), FixedStore(case["captions"])).value for case in CASES]
    assert np.mean(scores) == pytest.approx(golden("scene")["dataset"], abs=1e-9)


@pytest.mark.parametrize(
    ("caption", "place", "found"),
    [
        ("a wide alleyway at night", "alley", True),
        ("a park with amusement rides", "amusement park", True),
        ("a park", "amusement park", False),
        ("an alley", " Alley ", True),
    ],
)
def test_words_count_in_any_order_and_inside_others(caption, place, found):
    assert shows(caption, place) is found


def test_compat_looks_at_the_first_six_frames_alone():
    """Captions 0, 1 and 2 are those of frame 0, and so on, as the reference repeats what it reads off twice."""
    for frame, counted in [(0, 3), (4, 3), (5, 1), (6, 0), (15, 0)]:
        captions = ["a room"] * 16
        captions[frame] = "a beach"
        store = FixedStore(captions)
        assert scene(drawn(), expecting("beach"), store).value == 1 / 16
        assert scene_compat(drawn(), expecting("beach"), store).value == counted / 16
    assert dict(scene_compat.params)["flags"] == "scene_first_frames"


@BOTH
@pytest.mark.parametrize("place", [None, "", "  "])
def test_a_prompt_without_a_place_is_skipped(scorer, place):
    score = scorer(drawn(), expecting(place), FixedStore([]))
    assert (score.status, score.reason) == ("skipped", "the prompt names no scene; manifest column prompt_scene")


@BOTH
@pytest.mark.parametrize(("frames", "height", "width"), [(1, 48, 64), (3, 256, 64), (40, 16, 64)])
def test_short_tall_and_small_clips_are_scored(scorer, frames, height, width):
    pytest.importorskip("torch")
    pytest.importorskip("timm")
    store = EncoderStore(setup=WeightsConfig("keyed-random-reduced"))
    score = scorer(drawn(frames, height, width), expecting("alley"), store)
    assert score.status == "ok"
    assert len(score.detail["captions"]) == 16
    json.dumps(dict(score.detail))
