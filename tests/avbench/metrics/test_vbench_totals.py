"""VBench's totals: the reference's numbers, what they rest on, and when there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.clips import Clip, Prompt
from avbench.metrics.base import Score, get_scorers
from avbench.metrics.derived import JudgedClip
from avbench.metrics.vbench_dimensions import DIMENSIONS, QUALITY, SEMANTIC, Dimension, quality, semantic, total
from avbench.metrics.vbench_totals import Judged, final_interval
from avbench.sources.vbench import dimensions_of, official_prompts, samples_needed

FOLDER = Path(__file__).parents[2] / "goldens" / "vbench"
FINAL = json.loads((FOLDER / "final.json").read_text())["final"]
BY_NAME = {dimension.name: dimension for dimension in DIMENSIONS}
Sampling = list[JudgedClip]
LAST = (0.1, 0.1, 0.1, 0.1, 0.35)
"""Appearance style of the last frame of each sample."""


@pytest.mark.parametrize("case", FINAL, ids=range(len(FINAL)))
def test_totals_are_the_references(case: dict[str, Any]) -> None:
    """Also where dimensions are missing, which its script counts as raw 0."""
    raw = case["raw"]
    for name, value in case["weighted_normalised"].items():
        dimension = BY_NAME[name.replace(" ", "_")]
        assert dimension.normalised(raw.get(dimension.name, 0.0)) == pytest.approx(value, abs=1e-9)
    assert (quality(raw), semantic(raw), total(raw)) == pytest.approx(
        (case["quality"], case["semantic"], case["total"]), abs=1e-9
    )


def test_means_over_clips_and_over_frames_are_the_references() -> None:
    """Three clips of 16, 14 and 6 frames whose scores the reference gave: 15, 13 and 5 similarities."""
    found = json.loads((FOLDER / "subject_consistency_means.json").read_text())
    clips = found["clips"].values()
    judged = Judged(
        QUALITY[:1],
        [0] * 3,
        [clip["score"] for clip in clips],
        [clip["frames"] - 1 for clip in clips],
        ["a", "b", "c"],
    )
    assert judged.means(by_frames=True)["subject_consistency"] == pytest.approx(found["frame_weighted"], abs=1e-7)
    assert judged.means(by_frames=False)["subject_consistency"] == pytest.approx(found["video_mean"], abs=1e-7)


def value_of(dimension: str, sample: int) -> float:
    """A score that depends on dimension and sample, 0 or 1 for yes and no."""
    if dimension in ("dynamic_degree", "human_action"):
        return float(sample < 2)
    return 0.2 + 0.1 * (sample % 5)


@pytest.fixture(scope="module")
def sampling() -> Sampling:
    """All clips of the official prompts, scored in both modes; every second clip for flickering is static."""
    clips = []
    for row in official_prompts():
        for sample in range(samples_needed(row)):
            prompt = row.prompt
            clip = Clip(f"{prompt.prompt_id}-{sample}", Path(), prompt=prompt, sample_index=sample)
            scores = {
                BY_NAME[name].metric(mode): Score.ok(value_of(name, sample))
                for name in dimensions_of(row)
                for mode in ("fixed", "compat")
            }
            if "appearance_style" in scores:
                scores["appearance_style"] = Score.ok(value_of("appearance_style", sample), last_frame=LAST[sample])
            if "temporal_flickering" in scores:
                static = Score.ok(float(sample % 2 == 0))
                scores |= {"static_filter": static, "static_filter_compat": static}
            clips.append(JudgedClip(clip, scores, 10 if sample < 4 else 30))
    return clips


def of(name: str, clips: Sampling) -> Score:
    (scorer,) = get_scorers([name])
    score = scorer.function(clips)
    assert isinstance(score, Score)
    return score


def changed(sampling: Sampling, where: Callable[[JudgedClip], bool], change: Callable[[JudgedClip], Any]) -> Sampling:
    """The sampling with one clip changed, or removed where `change` gives None; the first for which `where` holds."""
    position = next(number for number, clip in enumerate(sampling) if where(clip))
    new = change(sampling[position])
    return [*sampling[:position], *([new] if new is not None else []), *sampling[position + 1 :]]


def is_of(dimension: str) -> Callable[[JudgedClip], bool]:
    return lambda clip: dimension in clip.scores


def test_a_whole_sampling_has_totals(sampling: Sampling) -> None:
    plain = dict.fromkeys(BY_NAME, 0.4)
    plain |= {"dynamic_degree": 0.4, "human_action": 0.4}
    # Of 25 samples the even ones are static; the first five as text are 0, 10, 12, 14, 16.
    plain["temporal_flickering"] = np.mean([value_of("temporal_flickering", sample) for sample in (0, 10, 12, 14, 16)])
    for name, finals in (("vbench_quality", quality), ("vbench_semantic", semantic), ("vbench_total", total)):
        score = of(name, sampling)
        assert score.value == pytest.approx(finals(plain), abs=1e-9)
        assert score.detail["low"] <= score.value <= score.detail["high"]
    detail = of("vbench_total", sampling).detail
    assert detail["dimensions"] == pytest.approx(plain)
    assert (detail["static_clips"], detail["clips_filtered"]) == (75 * 13, 75 * 25)
    assert detail["clips"] == 6230 - 75 * 20  # five of 25 for each prompt of flickering
    # 944 texts: two stand in the list twice, for different dimensions, and are sampled twice here, as its ids say.
    assert detail["prompts"] == 944


def test_compat_counts_frames_where_one_process_of_the_reference_does(sampling: Sampling) -> None:
    long, short = 29.0, 9.0  # similarities of the fifth sample and of the others
    values = [value_of("subject_consistency", sample) for sample in range(5)]
    by_frames = np.average(values, weights=[short] * 4 + [long])
    score = of("vbench_total_compat", sampling)
    assert score.detail["dimensions"]["subject_consistency"] == pytest.approx(by_frames)
    assert score.detail["dimensions"]["background_consistency"] == pytest.approx(by_frames)
    assert score.detail["dimensions"]["appearance_style"] == pytest.approx(np.average(values, weights=[10] * 4 + [30]))
    assert score.detail["dimensions"]["aesthetic_quality"] == pytest.approx(np.mean(values))
    fixed = of("vbench_total", sampling).detail
    assert fixed["dimensions"]["subject_consistency"] == pytest.approx(np.mean(values))
    # Both modes show both means.
    for kind in ("means_over_clips", "means_over_frames"):
        assert fixed[kind] == pytest.approx(score.detail[kind])


@pytest.mark.parametrize("mode", ["", "_compat"])
def test_what_several_processes_of_the_reference_give_is_shown_beside(sampling: Sampling, mode: str) -> None:
    """Their appearance style is that of last frames alone."""
    assert of(f"vbench_semantic{mode}", sampling).detail["means_over_last_frames"] == pytest.approx(
        {"appearance_style": np.mean(LAST)}
    )
    assert of(f"vbench_quality{mode}", sampling).detail["means_over_last_frames"] == {}


@pytest.mark.parametrize(
    ("dimension", "change", "reason"),
    [
        ("color", lambda clip: None, "color has 5 samples of 84 of 85 prompts"),
        ("temporal_flickering", lambda clip: None, "temporal_flickering has 25 samples of 74 of 75 prompts"),
        (
            "scene",
            lambda clip: replace(clip, scores={**clip.scores, "scene": Score.error("cannot decode")}),
            "scene lacks the scores of 1 clips (cannot decode)",
        ),
        (
            "color",
            lambda clip: replace(clip, scores={**clip.scores, "color": Score.skipped("weights missing: grit")}),
            "color lacks the scores of 1 clips (weights missing: grit)",
        ),
        ("scene", lambda clip: replace(clip, scores={}), "scene is not in the run"),
        (
            "temporal_flickering",
            lambda clip: replace(clip, scores={**clip.scores, "static_filter": Score.skipped("too small")}),
            "temporal_flickering lacks the scores of 1 clips (too small)",
        ),
        (
            "scene",
            lambda clip: replace(clip, clip=replace(clip.clip, model="other")),
            "clips of several models: score each model into a run of its own",
        ),
    ],
)
def test_a_total_is_skipped_with_what_is_missing(
    sampling: Sampling, dimension: str, change: Callable[[JudgedClip], Any], reason: str
) -> None:
    score = of("vbench_total", changed(sampling, is_of(dimension), change))
    assert (score.status, score.value) == ("skipped", None)
    assert reason in score.reason and score.reason.startswith("incomplete: ")
    if "models" in reason:
        return
    group = "vbench_semantic" if dimension in ("color", "scene") else "vbench_quality"
    other = {"vbench_semantic": "vbench_quality", "vbench_quality": "vbench_semantic"}[group]
    assert of(group, changed(sampling, is_of(dimension), change)).status == "skipped"
    if dimension == "color":
        assert of(other, changed(sampling, is_of(dimension), change)).status == "ok"


def test_clips_without_a_coloured_object_are_left_out_as_in_the_reference(sampling: Sampling) -> None:
    """Not counted as 0, and no reason to skip the total."""
    left_out = Score.skipped("no frame shows the object", object_frames=0)
    clips = [
        replace(clip, scores={**clip.scores, "color": left_out})
        if "color" in clip.scores and clip.clip.sample_index == 4
        else clip
        for clip in sampling
    ]
    score = of("vbench_semantic", clips)
    assert score.detail["dimensions"]["color"] == pytest.approx(0.35)  # mean of the other four
    nothing = [replace(clip, scores={**clip.scores, "color": left_out}) for clip in sampling if "color" in clip.scores]
    assert of("vbench_semantic", [*(c for c in sampling if "color" not in c.scores), *nothing]).reason == (
        "incomplete: no clip of color counts"
    )


def test_without_official_prompts_everything_is_missing() -> None:
    clip = JudgedClip(Clip("a", Path(), prompt=Prompt("my own prompt")), {"scene": Score.ok(1.0)}, 10)
    score = of("vbench_total", [clip])
    assert score.reason == (
        "incomplete: subject_consistency has 5 samples of 0 of 72 prompts; background_consistency has 5 samples "
        "of 0 of 86 prompts; temporal_flickering has 25 samples of 0 of 75 prompts; and 13 more"
    )


def test_flickering_of_static_clips_takes_the_first_five_as_text(sampling: Sampling) -> None:
    score = of("static_flickering", sampling)
    assert score.value == pytest.approx(np.mean([value_of("temporal_flickering", s) for s in (0, 10, 12, 14, 16)]))
    counts = {name: score.detail[name] for name in ("clips", "static_clips", "clips_filtered", "prompts")}
    assert counts == {"clips": 375, "static_clips": 975, "clips_filtered": 1875, "prompts": 75}


def test_flickering_of_clips_that_all_move_is_skipped() -> None:
    moving = {"temporal_flickering": Score.ok(0.9), "static_filter": Score.ok(0.0)}
    clip = JudgedClip(Clip("a", Path()), moving)
    assert of("static_flickering", [clip]).reason == "no clip stands still"
    unknown = JudgedClip(Clip("a", Path()), moving | {"static_filter": Score.skipped("too small")})
    assert of("static_flickering", [unknown]).reason == "too small"


@pytest.mark.parametrize("scores", [{}, {"temporal_flickering": Score.error("cannot decode")}])
def test_flickering_that_no_clip_was_asked_for_is_not_said_to_be_motion(scores: dict[str, Score]) -> None:
    """As in a run of the suite on prompts of other dimensions."""
    score = of("static_flickering", [JudgedClip(Clip("a", Path()), scores)])
    assert (score.status, score.reason) == ("skipped", "no clip has a score of temporal_flickering")


@pytest.mark.long
def test_the_interval_of_the_total_covers_its_expectation() -> None:
    """Two dimensions share a list of prompts, as in VBench; scores of one prompt resemble each other."""
    generator = np.random.default_rng(5)
    lists: tuple[tuple[Dimension, ...], ...] = (tuple(QUALITY[:2]), tuple(QUALITY[2:4]), tuple(SEMANTIC[:1]))
    dimensions = [dimension for shared in lists for dimension in shared]
    hits = 0
    for _ in range(300):
        judged = Judged(dimensions)
        for number, shared in enumerate(lists):
            effects = generator.normal(size=(75, 1, 1)) + 0.5 * generator.normal(size=(75, 5, len(shared)))
            for (prompt, _, column), effect in np.ndenumerate(effects):
                judged.index.append(dimensions.index(shared[column]))
                judged.values.append(float(effect))
                judged.prompts.append(f"{number} {prompt}")
        judged.frames = [1.0] * len(judged.values)
        found = final_interval(judged, lambda values: sum(values.values()), "fixed")
        assert found.low is not None and found.high is not None
        hits += found.low <= 0 <= found.high
    assert 0.92 <= hits / 300 <= 0.985
