"""VBench's Quality, Semantic and Total: its sixteen dimensions over the official prompts, brought to one scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.metrics.base import Score, Scorer
from avbench.metrics.derived import DerivedFunction, JudgedClip, derived_scorer
from avbench.metrics.vbench_dimensions import (
    DIMENSIONS,
    QUALITY,
    SEMANTIC,
    Dimension,
    quality,
    semantic,
    static_filter,
    total,
)
from avbench.metrics.vbench_static_flickering import first_static
from avbench.sources.prompts import PromptRow
from avbench.sources.vbench import FLICKERING, Coverage, coverage, official_prompts
from avbench.statistics.intervals import Interval, jackknife_interval

Finals = Callable[[Mapping[str, float]], float]

_SHOWN = 3
_CAVEAT = (
    "Holds only for the whole official list with all samples; other prompts give another number. Bounds and weights "
    "are VBench's, chosen when the best models were those of 2023, and values can leave 0 to 1."
)


@dataclass
class Judged:
    """Values of clips under their dimensions, and what stands against a total.

    Attributes:
        dimensions: in the order that `index` counts.
        index, values, frames: dimension, value and weight of each clip in compat mode.
        prompts: text of each clip's prompt.
        last_frames: values of last frames by dimension, where scores have them.
        clip_ids: of all clips with a value; some have several dimensions.
        static: clips that stand still among those of temporal flickering, and how many these are.
        problems: half sentences; empty where the total holds.
    """

    dimensions: Sequence[Dimension]
    index: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    last_frames: dict[str, list[float]] = field(default_factory=dict)
    clip_ids: set[str] = field(default_factory=set)
    static: tuple[int, int] = (0, 0)
    problems: list[str] = field(default_factory=list)

    def means(self, *, by_frames: bool, use: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Mean of each dimension over its clips, or over their frames; NaN without any."""
        chosen = np.ones(len(self.values), dtype=np.bool_) if use is None else use
        index, values = np.asarray(self.index, dtype=np.int64)[chosen], np.asarray(self.values)[chosen]
        weights = np.asarray(self.frames)[chosen] if by_frames else np.ones(len(values))
        counts = np.bincount(index, weights, minlength=len(self.dimensions))
        sums = np.bincount(index, weights * values, minlength=len(self.dimensions))
        means = np.divide(sums, counts, out=np.full(len(counts), math.nan), where=counts > 0)
        return {dimension.name: float(mean) for dimension, mean in zip(self.dimensions, means, strict=True)}


def judge(clips: Sequence[JudgedClip], rows: Sequence[PromptRow], dimensions: Sequence[Dimension], mode: str) -> Judged:
    """The values of clips of the official prompts under their dimensions.

    Args:
        clips: all clips of a run.
        rows: the official list.
        dimensions: those wanted.
        mode: "fixed" or "compat".
    """
    judged = Judged(dimensions)
    if len({each.clip.model for each in clips}) > 1:
        judged.problems.append("clips of several models: score each model into a run of its own")
        return judged
    by_id = {each.clip.clip_id: each for each in clips}
    covered = {each.dimension: each for each in coverage([each.clip for each in clips], rows)}
    judged.problems += [lack for dimension in dimensions if (lack := covered[dimension.name].lack)]
    for number, dimension in enumerate(dimensions):
        _add(judged, number, covered[dimension.name], by_id, mode)
    return judged


def _add(judged: Judged, number: int, covered: Coverage, by_id: Mapping[str, JudgedClip], mode: str) -> None:
    """Add the clips of one dimension."""
    dimension = judged.dimensions[number]
    unscored: list[str] = []
    for prompt in covered.prompts:
        clips = [by_id[clip.clip_id] for clip in prompt.clips]
        if dimension.name == FLICKERING:
            filtered = first_static(clips, mode)
            judged.static = judged.static[0] + filtered.static, judged.static[1] + len(clips)
            unscored += filtered.unscored
            clips = list(filtered.chosen)
        for clip in clips:
            score = clip.scores.get(dimension.metric(mode))
            if score is not None and score.value is not None:
                judged.index.append(number)
                judged.values.append(score.value)
                judged.frames.append(1.0 if dimension.lost is None else max((clip.frames or 0) - dimension.lost, 0))
                judged.prompts.append(prompt.row.prompt.text or "")
                if (last := score.detail.get("last_frame")) is not None:
                    judged.last_frames.setdefault(dimension.name, []).append(float(last))
                judged.clip_ids.add(clip.clip.clip_id)
            elif score is None or not is_left_out(dimension, score):
                unscored.append(score.reason if score else f"{dimension.metric(mode)} is not in the run")
    if unscored:
        judged.problems.append(f"{dimension.name} lacks the scores of {len(unscored)} clips ({unscored[0]})")


def is_left_out(dimension: Dimension, score: Score) -> bool:
    """Whether VBench leaves the clip out of the mean: one that shows no object whose colour could be judged."""
    return dimension.name == "color" and score.status == "skipped" and score.detail.get("object_frames") == 0


def final_score(
    clips: Sequence[JudgedClip], rows: Sequence[PromptRow], dimensions: Sequence[Dimension], finals: Finals, mode: str
) -> Score:
    """A total with its interval, prompts being the independent units; skipped with what is missing.

    Args:
        clips: all clips of a run.
        rows: the official list.
        dimensions: those that the total is made of.
        finals: the total of their values.
        mode: "fixed": every clip counts once. "compat": frames of some dimensions do, as in VBench run by one process.
    """
    judged = judge(clips, rows, dimensions, mode)
    if judged.problems:
        return Score.skipped(f"incomplete: {_shortened(judged.problems)}")
    values = judged.means(by_frames=mode == "compat")
    if empty := [name for name, value in values.items() if math.isnan(value)]:
        return Score.skipped(f"incomplete: no clip of {', '.join(empty)} counts")
    interval = final_interval(judged, finals, mode)
    return Score.ok(finals(values), **_detail(judged, values), **interval.detail())


def final_interval(judged: Judged, finals: Finals, mode: str) -> Interval:
    """The interval of a total: prompts are left out in groups, each from all of its dimensions at once."""
    by_frames = mode == "compat"
    whole = finals(judged.means(by_frames=by_frames))
    return jackknife_interval(
        lambda use: finals(judged.means(by_frames=by_frames, use=use)), whole, judged.prompts
    )  # fmt: skip


def _detail(judged: Judged, values: Mapping[str, float]) -> dict[str, Any]:
    by_clips, by_frames = judged.means(by_frames=False), judged.means(by_frames=True)
    weighted = [dimension.name for dimension in judged.dimensions if dimension.lost is not None]
    detail: dict[str, Any] = {
        "clips": len(judged.clip_ids),
        "dimensions": dict(values),
        "means_over_clips": {name: by_clips[name] for name in weighted},
        "means_over_frames": {name: by_frames[name] for name in weighted},
        # What several processes of the reference give.
        "means_over_last_frames": {name: float(np.mean(last)) for name, last in judged.last_frames.items()},
    }
    if judged.static[1]:
        detail["static_clips"], detail["clips_filtered"] = judged.static
    return detail


def _shortened(problems: Sequence[str]) -> str:
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more


def _inputs(dimensions: Sequence[Dimension], mode: str) -> tuple[str, ...]:
    names = tuple(dimension.metric(mode) for dimension in dimensions)
    return (*names, static_filter(mode)) if FLICKERING in names else names


def _final(name: str, dimensions: Sequence[Dimension], mode: str) -> Callable[[DerivedFunction], Scorer]:
    flags = {"flags": "vbench_frame_weighted"} if mode == "compat" else {}
    return derived_scorer(
        name,
        inputs=_inputs(dimensions, mode),
        family="vbench",
        unit="1",
        higher_is_better=True,
        range=(-math.inf, math.inf),
        source="VBench (Huang et al., CVPR 2024), scripts/cal_final_score.py",
        params={"mode": mode, **flags},
        caveat=_CAVEAT,
    )


@_final("vbench_quality", QUALITY, "fixed")
def vbench_quality(clips: Sequence[JudgedClip]) -> Score:
    """Seven dimensions of quality in one number.

    Formula: sum of w (x - low) / (high - low) over seven dimensions, by 6.5, the sum of the weights w; x is the mean
    over clips of the dimension's prompts.
    """
    return final_score(clips, official_prompts(), QUALITY, quality, "fixed")


@_final("vbench_semantic", SEMANTIC, "fixed")
def vbench_semantic(clips: Sequence[JudgedClip]) -> Score:
    """Nine dimensions of the prompt in one number.

    Formula: as vbench_quality, over nine dimensions, by 9.
    """
    return final_score(clips, official_prompts(), SEMANTIC, semantic, "fixed")


@_final("vbench_total", DIMENSIONS, "fixed")
def vbench_total(clips: Sequence[JudgedClip]) -> Score:
    """All sixteen dimensions in one number.

    Formula: (4 Quality + Semantic) / 5.
    """
    return final_score(clips, official_prompts(), DIMENSIONS, total, "fixed")


@_final("vbench_quality_compat", QUALITY, "compat")
def vbench_quality_compat(clips: Sequence[JudgedClip]) -> Score:
    """Seven dimensions of quality in one number, as one process of VBench computes it.

    Formula: as vbench_quality, but subject and background consistency are means over all frames, so that long clips
    count more.
    """
    return final_score(clips, official_prompts(), QUALITY, quality, "compat")


@_final("vbench_semantic_compat", SEMANTIC, "compat")
def vbench_semantic_compat(clips: Sequence[JudgedClip]) -> Score:
    """Nine dimensions of the prompt in one number, as one process of VBench computes it.

    Formula: as vbench_semantic, but appearance style is a mean over all frames.
    """
    return final_score(clips, official_prompts(), SEMANTIC, semantic, "compat")


@_final("vbench_total_compat", DIMENSIONS, "compat")
def vbench_total_compat(clips: Sequence[JudgedClip]) -> Score:
    """All sixteen dimensions in one number, as one process of VBench computes it.

    Formula: (4 Quality + Semantic) / 5, both in mode compat.
    """
    return final_score(clips, official_prompts(), DIMENSIONS, total, "compat")
