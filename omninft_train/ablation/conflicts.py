"""Study of reward conflicts: how often the rewards of a rollout pull video and audio in opposite directions.

Source: OmniNFT (arXiv 2605.12480), Figure 2a: "nearly half" of 1,400 rollouts, 175 prompts x 8.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from avbench.config import build
from avbench.errors import UsageError
from avbench.statistics import Interval, mean_interval
from avbench.statistics.intervals import jackknife_interval
from avbench.toml import Origin
from omninft_train.method.advantages import AdvantageOptions, Masked, Route, modality_advantages, normalised

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Rollouts:
    """Rewards of B rollouts.

    Attributes:
        name: of the run, for tables.
        rewards, routes, weights: of R rewards.
        groups: (B,) number of each rollout's group.
        values: (B, R). valid: (B, R); invalid entries are never read.
    """

    name: str
    rewards: tuple[str, ...]
    routes: tuple[Route, ...]
    weights: tuple[float, ...]
    groups: NDArray[np.int64]
    values: Floats
    valid: Bools


@dataclass(frozen=True)
class Study:
    """Result of the study of one run.

    Attributes:
        video, audio: (B,) advantages of the rewards of one modality; NaN where one of them failed.
        fraction: of rollouts with opposite signs, in [0, 1].
        correlation: of the two advantages.
        fraction_interval, correlation_interval: of these, over groups: rollouts of one prompt have much in common.
        matrix: (R, R) correlations of rewards within groups; NaN where one is constant.
        counted: rollouts with both advantages. ties: of them, those where one is exactly 0, which count as no conflict.
        group_count: groups.
        by_reward: fraction of opposite signs of each pair of rewards, (R, R).
    """

    rollouts: Rollouts
    video: Floats
    audio: Floats
    fraction: float
    fraction_interval: Interval
    correlation: float
    correlation_interval: Interval
    matrix: Floats
    by_reward: Floats
    counted: int
    ties: int
    group_count: int


def read_rollouts(path: Path, name: str = "") -> Rollouts:
    """Read rollouts that `omninft-train conflicts` wrote.

    Raises:
        UsageError: no such file, or not one of these: which key, and what is wrong with it.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path}: not rollouts ({error}). Make them: omninft-train conflicts RUN --out FILE."
        ) from error
    keys = ("rewards", "routes", "weights", "groups", "values", "valid")
    missing = [key for key in keys if key not in content] if isinstance(content, dict) else list(keys)
    if missing:
        raise UsageError(f"{path}: no {', '.join(missing)}. Make it with: omninft-train conflicts RUN --out FILE.")
    return _checked(path, content, name)


def _checked(path: Path, content: Mapping[str, Any], name: str) -> Rollouts:
    rewards = tuple(map(str, content["rewards"]))
    routes = build(tuple[Route, ...], content["routes"], Origin(str(path)), ("routes",))
    try:
        weights = tuple(float(weight) for weight in content["weights"])
        groups = np.asarray(content["groups"], dtype=np.int64)
        values = np.asarray(
            [[math.nan if v is None else v for v in row] for row in content["values"]], dtype=np.float64
        )
        valid = np.asarray(content["valid"], dtype=np.bool_) & np.isfinite(values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: {error}. Expected one row per rollout with one number per reward.") from error
    b, r = len(groups), len(rewards)
    if not b or values.shape != (b, r) or valid.shape != (b, r) or not len(routes) == len(weights) == r:
        raise UsageError(
            f"{path}: {b} groups, values {values.shape}, valid {valid.shape}, {len(routes)} routes, {len(weights)} "
            f"weights; expected ({b}, {r}) for {b} rollouts and {r} rewards."
        )
    for route in ("video", "audio"):
        if not any(other == route and weight for other, weight in zip(routes, weights, strict=True)):
            raise UsageError(f"{path}: no reward of route {route} alone, so there is no such advantage to compare.")
    return Rollouts(name or path.stem, rewards, routes, weights, groups, values, valid)


def study(rollouts: Rollouts, std: Literal["batch", "group"] = "batch") -> Study:
    """Advantages of each modality's own rewards, and how far they disagree.

    Args:
        rollouts: at least two groups.
        std: rewards are divided by their standard deviation over all rollouts, as in the release, or over their group.

    Raises:
        UsageError: fewer than two groups: the variance between groups is unknown. Or no rollout with both advantages.
    """
    groups, index = np.unique(rollouts.groups, return_inverse=True)
    if len(groups) < 2:
        raise UsageError(f"{rollouts.name}: {len(groups)} group of rollouts; the interval needs at least 2.")
    normal, video, audio = _advantages(rollouts, std)
    counted = np.isfinite(video) & np.isfinite(audio)
    if not counted.any():
        raise UsageError(
            f"{rollouts.name}: none of {len(counted)} rollouts has a value of every video and audio reward, so "
            "there is nothing to compare. See why rewards fail: omninft-train score."
        )
    opposite = np.where(counted, video * audio < 0, False)
    members = index[counted].tolist()
    fraction = mean_interval(opposite[counted], members)
    correlation = _correlation_interval(video[counted], audio[counted], members)
    return Study(
        rollouts=rollouts,
        video=video,
        audio=audio,
        fraction=float(opposite.sum() / counted.sum()),
        fraction_interval=fraction,
        correlation=_correlation(video[counted], audio[counted]),
        correlation_interval=correlation,
        matrix=_pairs(normal, _correlation),
        by_reward=_pairs(normal, _opposite),
        counted=int(counted.sum()),
        ties=int((counted & (np.nan_to_num(video) * np.nan_to_num(audio) == 0)).sum()),
        group_count=len(groups),
    )


def _advantages(rollouts: Rollouts, std: Literal["batch", "group"]) -> tuple[Floats, Floats, Floats]:
    """Normalised rewards (B, R), advantages (B,) of video-only and of audio-only ones; NaN where invalid."""
    valid, weights = torch.from_numpy(rollouts.valid), torch.tensor(rollouts.weights, dtype=torch.float64)
    rewards, groups = Masked(torch.from_numpy(rollouts.values), valid), torch.from_numpy(rollouts.groups)
    normal = normalised(rewards, groups, AdvantageOptions(std=std)).masked_fill(~valid, math.nan)
    video, audio = modality_advantages(normal, weights, rollouts.routes)
    return normal.numpy(), video.numpy(), audio.numpy()


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean() if len(a) else a, b - b.mean() if len(b) else b
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else math.nan


def _opposite(a: Floats, b: Floats) -> float:
    return float((a * b < 0).mean()) if len(a) else math.nan


def _pairs(normal: Floats, measure: Any) -> Floats:
    """A measure of every two rewards over rollouts where both are valid."""
    count = normal.shape[1]
    matrix = np.full((count, count), np.nan)
    for i in range(count):
        for j in range(count):
            both = np.isfinite(normal[:, i]) & np.isfinite(normal[:, j])
            matrix[i, j] = measure(normal[both, i], normal[both, j])
    return matrix


def _correlation_interval(video: Floats, audio: Floats, groups: Sequence[int]) -> Interval:
    """Interval of the correlation over groups, on Fisher's scale, where its variance does not depend on its size."""

    def statistic(use: Bools) -> float:
        r = _correlation(video[use], audio[use])
        return math.atanh(r) if abs(r) < 1 else math.nan

    interval = jackknife_interval(statistic, statistic(np.ones(len(video), dtype=bool)), groups)
    if interval.low is None or interval.high is None:
        return interval
    return replace(interval, low=math.tanh(interval.low), high=math.tanh(interval.high))


def sentence(result: Study) -> str:
    """The finding in words."""
    where = "one half, as rewards give that have nothing to do with each other, lies within the interval"
    low, high = result.fraction_interval.low, result.fraction_interval.high
    if low is None or high is None:
        where = f"no interval: {result.fraction_interval.reason}"
    elif low > 0.5:
        where = "more than half: what makes the video better tends to make the sound worse"
    elif high < 0.5:
        where = "less than half: the two tend to agree, and still disagree in the others"
    ends = "" if low is None or high is None else f" [{low:.1%}, {high:.1%}]"
    return (
        f"{result.rollouts.name}: {result.fraction:.1%}{ends} of {result.counted} rollouts in "
        f"{result.group_count} groups have video and audio advantages of opposite signs; {where}."
    )
