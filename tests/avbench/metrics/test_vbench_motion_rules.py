"""Dynamic degree and the static filter: decisions against the reference's, and clips that they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vbench_goldens import golden

from avbench.clips import Prompt
from avbench.encoders import Encoder, EncoderStore
from avbench.media import Media, Stride
from avbench.metrics.base import Score, Scorer
from avbench.metrics.vbench_dynamic_degree import DynamicRule, dynamic_degree, dynamic_degree_compat
from avbench.metrics.vbench_static_filter import StaticRule, static_filter, static_filter_compat

LOGIC = golden("motion_logic")


class Speeds(EncoderStore):
    """Gives the same speeds whatever the clip."""

    def __init__(self, *speeds: float) -> None:
        super().__init__()
        self.speeds = speeds

    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> Any:
        return np.array(self.speeds, np.float32)


class Unreachable(EncoderStore):
    def embed(self, encoder: Encoder, media: Media, prompt: Prompt | None = None) -> Any:
        raise AssertionError("no network may be asked")


def score(scorer: Scorer, store: EncoderStore, frames: int, sides: tuple[int, int] = (256, 300)) -> Score:
    """The score of a clip at 24 frames a second; the threshold is 6 pixels, and 3 for the static filter."""
    return scorer(Media.from_arrays("clip", np.zeros((frames, *sides, 3), np.uint8), 24.0), Prompt(), store)


@pytest.mark.parametrize("case", LOGIC["dynamic_params"])
def test_parameters_equal_the_reference(case: dict[str, Any]) -> None:
    indices = Stride(8.0).indices(np.arange(case["frames"]) / case["fps"], case["fps"])
    assert indices.tolist() == list(range(0, case["frames"], case["interval"]))
    assert len(indices) == case["sampled"]
    size = case["h"], case["w"]
    assert DynamicRule.of(*size, case["sampled"]) == DynamicRule(case["thres"], case["count_num"])
    assert StaticRule.of(*size, case["frames"]) == StaticRule(case["static_thres"], case["static_count_num"])


@pytest.mark.parametrize("case", LOGIC["decisions"])
def test_decisions_equal_the_reference(case: dict[str, Any]) -> None:
    side = case["min_side"]
    dynamic = DynamicRule.of(side, 2 * side, case["sampled"])
    assert dynamic.holds(np.array(case["scores"])) == case["dynamic"]
    static = StaticRule.of(side, 2 * side, case["sampled"])
    assert static.holds(np.array(case["static_scores"])) == case["static"]


@pytest.mark.parametrize("name", ["clip_e", "clip_f", "bbb16"])
@pytest.mark.parametrize("weights", ["", "small_"])
def test_decisions_on_clips_equal_the_reference(name: str, weights: str) -> None:
    case, side = golden("dynamic_degree")[name], {"clip_e": 140, "clip_f": 136, "bbb16": 360}[name]
    rule = DynamicRule.of(side, side, case["pairs"] + 1)
    assert rule == DynamicRule(case[f"{weights}thres"], case[f"{weights}count_num"])
    assert rule.holds(np.array(case[f"{weights}pair_scores"])) == case[f"{weights}decision"]
    if name == "clip_f":
        speeds = np.array(case[f"{weights}static_scores"])
        assert StaticRule.of(side, side, len(speeds) - 1).holds(speeds) == case[f"{weights}static"]


def test_dynamic_degree_counts_pairs() -> None:
    """13 frames make 5 sampled ones; one pair above 6 pixels suffices."""
    moving = score(dynamic_degree, Speeds(0.0, 6.5, 6.0, 1.0), 13)
    assert (moving.value, moving.detail["moving_pairs"], moving.detail["needed_pairs"]) == (1.0, 1, 1)
    assert (moving.detail["threshold_px"], moving.detail["fastest_px"]) == (6.0, 6.5)
    assert score(dynamic_degree, Speeds(0.0, 6.0, 6.0, 1.0), 13).value == 0.0


def test_static_filter_allows_some_motion() -> None:
    """Of 16 frames two pairs may exceed 3 pixels, and first and last be 12 apart."""
    calm = [3.5, 4.0, *[1.0] * 13]
    assert score(static_filter, Speeds(*calm, 12.0, 12.0), 16).value == 1.0
    assert score(static_filter, Speeds(*calm, 12.5, 1.0), 16).value == 0.0
    assert score(static_filter, Speeds(*calm, 1.0, 12.5), 16).value == 0.0
    busy = score(static_filter, Speeds(*calm[:-1], 3.5, 1.0, 2.0), 16)
    assert busy.value == 0.0
    assert busy.detail["moving_pairs"] == busy.detail["allowed_pairs"] + 1 == 3
    assert (busy.detail["first_to_last_px"], busy.detail["last_to_first_px"]) == (1.0, 2.0)


@pytest.mark.parametrize("scorer", [static_filter, static_filter_compat])
def test_a_still_clip_is_static(scorer: Scorer) -> None:
    assert score(scorer, Speeds(*[0.0] * 31), 30).value == 1.0


@pytest.mark.parametrize("scorer", [dynamic_degree, static_filter])
@pytest.mark.parametrize("sides", [(120, 400), (400, 120), (8, 8), (127, 127)])
def test_small_pictures_are_refused_without_a_network(scorer: Scorer, sides: tuple[int, int]) -> None:
    refused = score(scorer, Unreachable(), 30, sides)
    assert (refused.status, "below 128 pixels" in refused.reason) == ("skipped", True)


@pytest.mark.parametrize("side", [121, 127, 128])
def test_pictures_that_padding_makes_large_enough_are_judged_by_the_reference_only(side: int) -> None:
    moving = Speeds(*[9.0] * 31)
    for fixed, compat in ((dynamic_degree, dynamic_degree_compat), (static_filter, static_filter_compat)):
        judged = score(compat, moving, 30, (side, 300))
        assert judged.value == float(compat is dynamic_degree_compat)
        assert score(fixed, moving, 30, (side, 300)).value == (judged.value if side == 128 else None)


def test_small_pictures_always_stand_still_in_the_reference() -> None:
    """The golden of a clip of 96 x 128 pixels: NaN for each pair, and no motion."""
    case = golden("dynamic_degree")["clip_a16"]
    assert np.isnan(case["pair_scores"]).all()
    dynamic = score(dynamic_degree_compat, Unreachable(), 16, (96, 128))
    assert (dynamic.value, dynamic.detail["moving_pairs"]) == (float(case["decision"]), 0)
    assert score(static_filter_compat, Unreachable(), 16, (96, 128)).value == 1.0


@pytest.mark.parametrize("sides", [(256, 300), (96, 128)])
def test_one_pair_is_always_dynamic_in_the_reference(sides: tuple[int, int]) -> None:
    assert score(dynamic_degree_compat, Speeds(0.0), 6, sides).value == 1.0
    assert score(dynamic_degree_compat, Speeds(), 1, sides).value == 0.0


@pytest.mark.parametrize(("frames", "sampled"), [(1, 1), (3, 1), (6, 2)])
def test_dynamic_degree_refuses_few_frames(frames: int, sampled: int) -> None:
    refused = score(dynamic_degree, Unreachable(), frames)
    assert refused.reason == f"{sampled} frames an eighth of a second apart; at least 3 needed"


def test_few_frames_pass_the_filter_in_the_reference_only_without_any_motion() -> None:
    assert score(static_filter, Unreachable(), 4).reason == "4 frames; at least 5 needed"
    assert score(static_filter_compat, Speeds(0.0, 0.0, 0.0, 0.0, 0.0), 4).value == 1.0
    assert score(static_filter_compat, Speeds(0.0, 0.0, 0.0, 0.01, 0.0), 4).value == 0.0


def test_modes_agree_on_common_clips() -> None:
    store = Speeds(*np.linspace(0, 9, 31).tolist())
    for fixed, compat in ((dynamic_degree, dynamic_degree_compat), (static_filter, static_filter_compat)):
        assert score(fixed, store, 30) == score(compat, store, 30)
