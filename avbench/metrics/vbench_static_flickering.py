"""Temporal flickering as VBench's tables have it: of clips that stand still, five for each prompt."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from avbench.metrics.base import Score, Scorer
from avbench.metrics.derived import DerivedFunction, JudgedClip, derived_scorer
from avbench.metrics.vbench_dimensions import static_filter
from avbench.sources.vbench import FLICKERING, SAMPLES
from avbench.statistics.intervals import mean_interval


@dataclass(frozen=True)
class Filtered:
    """What the static filter leaves of a prompt's clips.

    Attributes:
        chosen: the first five that stand still, in the order of their sample numbers as text: 10 before 2.
        static: how many stand still.
        unscored: reasons of clips that were not filtered.
    """

    chosen: tuple[JudgedClip, ...]
    static: int
    unscored: tuple[str, ...]


def first_static(clips: Sequence[JudgedClip], mode: str) -> Filtered:
    """The clips of one prompt that VBench takes temporal flickering of, in mode "fixed" or "compat"."""
    name = static_filter(mode)
    static, unscored = [], []
    for clip in sorted(clips, key=lambda clip: str(clip.clip.sample_index)):
        score = clip.scores.get(name)
        if score is None or score.value is None:
            unscored.append(score.reason if score else f"{name} is not in the run")
        elif score.value:
            static.append(clip)
    return Filtered(tuple(static[:SAMPLES]), len(static), tuple(unscored))


def _score(clips: Sequence[JudgedClip], mode: str) -> Score:
    prompts: dict[Hashable, list[JudgedClip]] = {}
    for clip in clips:
        if (score := clip.scores.get(FLICKERING)) is not None and score.value is not None:
            prompts.setdefault(clip.clip.prompt_key, []).append(clip)
    if not prompts:
        return Score.skipped(f"no clip has a score of {FLICKERING}")
    filtered = {key: first_static(members, mode) for key, members in prompts.items()}
    reasons = [reason for each in filtered.values() for reason in each.unscored]
    pairs = [(clip.scores[FLICKERING].value, key) for key, each in filtered.items() for clip in each.chosen]
    if not pairs:
        return Score.skipped(reasons[0] if reasons else "no clip stands still")
    values, keys = zip(*pairs, strict=True)
    interval = mean_interval(values, keys)
    counts = {
        "clips": len(values),
        "static_clips": sum(each.static for each in filtered.values()),
        "clips_filtered": sum(map(len, prompts.values())),
        "clips_not_filtered": len(reasons),
        "prompts_without_static_clip": sum(not each.static for each in filtered.values()),
    }
    return Score.ok(float(np.mean(values)), **counts, **interval.within(0.0, 1.0).detail())


def _static_flickering(name: str, mode: str) -> Callable[[DerivedFunction], Scorer]:
    return derived_scorer(
        name,
        inputs=(FLICKERING, static_filter(mode)),
        family="vbench",
        unit="1",
        higher_is_better=True,
        range=(0.0, 1.0),
        source="VBench (Huang et al., CVPR 2024), section 3.1 and static_filter.py",
        params={"mode": mode},
        caveat="Says nothing of clips that move: the detail counts how many were left out.",
    )


@_static_flickering("static_flickering", "fixed")
def static_flickering(clips: Sequence[JudgedClip]) -> Score:
    """Temporal flickering of clips that stand still, at most five for each prompt.

    Formula: mean of temporal_flickering over the first five clips of each prompt that pass static_filter.
    """
    return _score(clips, "fixed")


@_static_flickering("static_flickering_compat", "compat")
def static_flickering_compat(clips: Sequence[JudgedClip]) -> Score:
    """Temporal flickering of clips that VBench's own filter takes for still ones.

    Formula: as static_flickering, with static_filter_compat.
    """
    return _score(clips, "compat")
