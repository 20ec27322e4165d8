"""Content of the training report: log, clip pairs, scores, overlays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.statistics import Interval
from omninft_train.evaluation import Evaluation


@dataclass(frozen=True)
class ClipPair:
    """Clips of one prompt from the same noise, before and after training.

    Attributes:
        before, after: mp4 files; one that is missing is named on the page.
        scores: name, score before, score after; None where there is no score.
    """

    prompt: str
    before: Path
    after: Path
    scores: list[tuple[str, float | None, float | None]]


@dataclass(frozen=True)
class ScoreRow:
    """One metric over all clips, before and after training.

    Attributes:
        rewarded: whether training saw it.
        change: mean of the differences of the same clip before and after, with its interval over prompts; None where
            there is only one value for all clips.
        n: clips with a value on both sides.
        higher_is_better: None for a metric without a better side.
    """

    name: str
    rewarded: bool
    before_mean: float | None
    after_mean: float | None
    change: Interval | None
    n: int
    higher_is_better: bool | None


@dataclass(frozen=True)
class Overlay:
    """Loss weights of a clip's regions, frame by frame.

    Attributes:
        frames: uint8 (H, W, 3).
        weights: (h, w) for each frame, at least 1; h and w need not divide H and W.
        maximum: largest weight that the run allows at this step.
    """

    prompt: str
    frames: list[NDArray[np.uint8]]
    weights: list[NDArray[np.floating[Any]]]
    maximum: float


@dataclass(frozen=True)
class Report:
    """Everything on the page.

    Attributes:
        recipe: its name.
        config_toml: the resolved recipe.
        log: logged steps, in order.
        notes: sentences shown at the top.
        evaluations: of the policy while it was trained, of the same prompts and noise, in the order of their steps.
        warnings: sentences on what they found, shown at the top as well.
        weights: of the rewards, by their names.
    """

    title: str
    recipe: str
    seed: int
    config_toml: str
    log: list[dict[str, Any]]
    pairs: list[ClipPair]
    scores: list[ScoreRow]
    overlays: list[Overlay]
    notes: list[str]
    evaluations: Sequence[Evaluation] = ()
    warnings: Sequence[str] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
