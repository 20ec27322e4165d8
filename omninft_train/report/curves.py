"""Charts of a run's log: rewards, conflicts, optimisation, gradient norms by depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avbench.pages.charts import Labels, Series, Value, bar_chart, line_chart
from avbench.pages.numbers import finite, format_significant
from avbench.pages.svg import Chart
from omninft_train.training.tracking import reward_key, reward_names

Log = Sequence[Mapping[str, Any]]
_SMOOTHED = 9  # steps of the running mean; drawn from 20 steps on
STREAMS = ("audio", "video")
WITH, WITHOUT = "gradient_by_depth", "gradient_by_depth_without_surgery"


def column(log: Log, key: str) -> list[Value]:
    """Values of a key at all steps, None where one is missing or not a finite number."""
    return [finite(row.get(key)) for row in log]


def total_reward(log: Log, weights: Mapping[str, float]) -> list[Value]:
    """Weighted sum of the rewards' means at each step; None where one of them is missing."""
    parts = [[(weights[name], value) for value in column(log, reward_key(name, "mean"))] for name in weights]
    sums: list[Value] = []
    for step in zip(*parts, strict=True):
        known = [weight * value for weight, value in step if value is not None]
        sums.append(sum(known) if len(known) == len(step) else None)
    return sums


def reward_charts(log: Log, configured: Mapping[str, float]) -> list[Chart]:
    """A chart for each reward, and one for their sum by the configured weights; unweighted where one is unknown."""
    names = reward_names(log)
    charts = [
        _curve(log, f"Reward: {name}", "mean of rollouts", column(log, reward_key(name, "mean"))) for name in names
    ]
    if len(names) > 1:
        known = set(names) <= set(configured)
        weights = {name: configured[name] if known else 1.0 for name in names}
        terms = " + ".join(
            name if weights[name] == 1 else f"{format_significant(weights[name])} {name}" for name in names
        )
        charts.append(_curve(log, f"Sum of rewards: {terms}", "sum of means", total_reward(log, weights)))
    return charts


def conflict_charts(log: Log) -> list[Chart]:
    """Opposite signs of the branches' advantages, their correlation, and their standard deviations."""
    charts = []
    if _logged(log, "conflict_share"):
        fraction = column(log, "conflict_share")
        charts.append(_curve(log, "Conflicts", "fraction of rollouts", fraction, (0.0, 1.0)))
    if _logged(log, "conflict_correlation"):
        correlation = column(log, "conflict_correlation")
        charts.append(_curve(log, "Correlation of advantages", "correlation", correlation, (-1.0, 1.0)))
    keys = {"video branch": "advantage_video_std", "audio branch": "advantage_audio_std"}
    return charts + _several(log, "Standard deviation of advantages", "standard deviation", keys)


def optimisation_charts(log: Log) -> list[Chart]:
    """Loss, KL, gradient norm, and adaptive weights, as far as they were logged."""
    losses = {"all": "loss", "video": "loss_video", "audio": "loss_audio"}
    weights = {
        "positive, video": "weight_plus_video",
        "positive, audio": "weight_plus_audio",
        "negative, video": "weight_minus_video",
        "negative, audio": "weight_minus_audio",
    }
    return [
        *_several(log, "Loss", "loss", losses),
        *_several(log, "KL to the reference", "KL", {"all": "kl", "video": "kl_video", "audio": "kl_audio"}),
        *_several(log, "Gradient norm before clipping", "norm", {"all parameters": "gradient_norm"}),
        *_several(log, "Adaptive weights of the two losses", "weight", weights),
        *_several(log, "Distance to the old policy", "distance", {"all parameters": "distance_old"}),
    ]


def depth_charts(log: Log) -> list[Chart]:
    """Gradient norms by block, audio and video stream, at the first and at the last probe."""
    measured = probes(log)
    charts = []
    for stream in STREAMS:
        values = [norms(row, key, stream) for row in measured for key in (WITHOUT, WITH)]
        ceiling = max((value for block_norms in values for value in block_norms if value is not None), default=None)
        for row in measured:
            series = _bars(row, stream)
            if series:
                groups = [str(block) for block in range(len(series[0].values))]
                labels = Labels(f"{stream.capitalize()} stream, step {row['step']}", "block", "gradient norm")
                charts.append(bar_chart(labels, groups, series, ceiling))
    return charts


def running_mean(values: Sequence[Value], width: int) -> list[Value]:
    """Mean of the values at most width // 2 steps away; None where there is no value."""
    means: list[Value] = []
    for index, value in enumerate(values):
        near = [v for v in values[max(0, index - width // 2) : index + width // 2 + 1] if v is not None]
        means.append(None if value is None else sum(near) / len(near))
    return means


def _curve(
    log: Log, title: str, label: str, values: Sequence[Value], bounds: tuple[float, float] | None = None
) -> Chart:
    """One quantity over steps; with a running mean where the run is long enough for one."""
    steps = [row["step"] for row in log]
    series = [Series("each step", values)]
    if len(steps) >= 20:
        smooth = running_mean(values, _SMOOTHED)
        series = [Series("each step", values, "raw"), Series(f"mean over {_SMOOTHED} steps", smooth, dots=False)]
    return line_chart(Labels(title, "step", label), steps, series, bounds)


def _several(log: Log, title: str, label: str, keys: Mapping[str, str]) -> list[Chart]:
    """One chart of several keys; none where no step has any of them."""
    logged = [(name, key) for name, key in keys.items() if _logged(log, key)]
    series = [
        Series(name, column(log, key), f"s{index}", dots=len(logged) == 1) for index, (name, key) in enumerate(logged)
    ]
    return [line_chart(Labels(title, "step", label), [row["step"] for row in log], series)] if series else []


def _logged(log: Log, key: str) -> bool:
    return any(key in row for row in log)


def probes(log: Log) -> list[Mapping[str, Any]]:
    """The first and the last step with norms by depth; one of them where they are the same."""
    rows = [row for row in log if isinstance(row.get(WITH) or row.get(WITHOUT), Mapping)]
    return rows[:1] + rows[1:][-1:]


def norms(row: Mapping[str, Any], key: str, stream: str) -> list[Value]:
    """Norms of a stream's blocks at one probe; empty where they were not measured."""
    by_stream = row.get(key)
    known = by_stream.get(stream) if isinstance(by_stream, Mapping) else None
    return [finite(value) for value in known or []]


def _bars(row: Mapping[str, Any], stream: str) -> list[Series]:
    without, operated = norms(row, WITHOUT, stream), norms(row, WITH, stream)
    if not without:
        return [Series("gradient", operated)] if operated else []
    depth = max(len(without), len(operated))
    pairs = (("without surgery", without, "plain"), ("with surgery", operated, "s0"))
    return [Series(name, values + [None] * (depth - len(values)), style) for name, values, style in pairs]
