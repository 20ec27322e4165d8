"""What a run's log says, as charts and table rows."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from omninft_train.errors import UsageError
from omninft_train.report.charts import Labels, Series, Value, bar_chart, finite, line_chart, number, running_mean
from omninft_train.rewards.spec import RewardSpec
from omninft_train.training.tracking import reward_key, reward_names

Log = Sequence[Mapping[str, Any]]
_SMOOTHED = 9  # steps of the running mean; drawn from 20 steps on
_STREAMS = ("audio", "video")
_WITH, _WITHOUT = "gradient_by_depth", "gradient_by_depth_without_surgery"


@dataclass(frozen=True)
class RewardRow:
    """A reward over the run: means of its first and last steps, spread of rollouts, and what failed."""

    name: str
    first: str
    last: str
    spread: str
    flat: str
    invalid: int


@dataclass(frozen=True)
class PhaseRow:
    """Seconds that a phase took: per step, in all, and as a share of all phases."""

    name: str
    mean: str
    total: str
    share: str


@dataclass(frozen=True)
class ProbeTable:
    """Gradient norms of one probe; a row per block: without and with surgery, audio then video."""

    step: int
    rows: list[tuple[str, ...]]


def column(log: Log, key: str) -> list[Value]:
    """Values of a key at all steps, None where one is missing or not a finite number."""
    return [finite(row.get(key)) for row in log]


def reward_weights(config_toml: str) -> dict[str, float]:
    """Weight of each reward in a resolved recipe; empty where it cannot be read."""
    try:
        entries = tomllib.loads(config_toml)["rewards"]["reward"]
        specs = [RewardSpec(entry["scorer"], entry["weight"], entry["route"]) for entry in entries]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, UsageError):
        return {}
    return {spec.name: spec.weight for spec in specs}


def total_reward(log: Log, weights: Mapping[str, float]) -> list[Value]:
    """Weighted sum of the rewards' means at each step; None where one of them is missing."""
    parts = [[(weights[name], value) for value in column(log, reward_key(name, "mean"))] for name in weights]
    sums: list[Value] = []
    for step in zip(*parts, strict=True):
        known = [weight * value for weight, value in step if value is not None]
        sums.append(sum(known) if len(known) == len(step) else None)
    return sums


def reward_charts(log: Log, config_toml: str) -> list[Markup]:
    """A chart for each reward, and one for their sum."""
    names = reward_names(log)
    charts = [
        _curve(log, f"Reward: {name}", "mean of rollouts", column(log, reward_key(name, "mean"))) for name in names
    ]
    if len(names) > 1:
        found = reward_weights(config_toml)
        known = set(names) <= set(found)
        weights = {name: found[name] if known else 1.0 for name in names}
        terms = " + ".join(name if weights[name] == 1 else f"{number(weights[name])} {name}" for name in names)
        charts.append(_curve(log, f"Sum of rewards: {terms}", "sum of means", total_reward(log, weights)))
    return charts


def reward_rows(log: Log) -> list[RewardRow]:
    """What the curves do not show: ends of the run over `ends_width` steps, spread, flat groups, failures."""
    width, rows = ends_width(log), []
    for name in reward_names(log):
        means = column(log, reward_key(name, "mean"))
        rows.append(
            RewardRow(
                name,
                number(_mean(means[:width])),
                number(_mean(means[-width:])),
                number(_mean(column(log, reward_key(name, "std")))),
                number(_mean(column(log, reward_key(name, "flat_groups")))),
                round(sum(value for value in column(log, f"reward_{name}_invalid") if value is not None)),
            )
        )
    return rows


def ends_width(log: Log) -> int:
    """How many steps are averaged at each end of a run."""
    return max(1, min(10, len(log) // 4))


def conflict_charts(log: Log) -> list[Markup]:
    """Opposite signs of the branches' advantages, their correlation, and their spread."""
    charts = []
    if _logged(log, "conflict_share"):
        share = column(log, "conflict_share")
        charts.append(_curve(log, "Conflict share", "share of rollouts", share, (0.0, 1.0)))
    if _logged(log, "conflict_correlation"):
        correlation = column(log, "conflict_correlation")
        charts.append(_curve(log, "Correlation of advantages", "correlation", correlation, (-1.0, 1.0)))
    keys = {"video branch": "advantage_video_std", "audio branch": "advantage_audio_std"}
    return charts + _several(log, "Spread of advantages", "standard deviation", keys)


def optimisation_charts(log: Log) -> list[Markup]:
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
        *_several(log, "KL to the reference", "KL", {"KL": "kl"}),
        *_several(log, "Gradient norm before clipping", "norm", {"all parameters": "gradient_norm"}),
        *_several(log, "Adaptive weights of the two losses", "weight", weights),
        *_several(log, "Distance to the old policy", "distance", {"all parameters": "distance_old"}),
    ]


def depth_charts(log: Log) -> list[Markup]:
    """Gradient norms by block, audio and video stream, at the first and at the last probe."""
    probes = _probes(log)
    charts = []
    for stream in _STREAMS:
        values = [_norms(row, key, stream) for row in probes for key in (_WITHOUT, _WITH)]
        ceiling = max((value for norms in values for value in norms if value is not None), default=None)
        for row in probes:
            series = _bars(row, stream)
            if series:
                groups = [str(block) for block in range(len(series[0].values))]
                labels = Labels(f"{stream.capitalize()} stream, step {row['step']}", "block", "gradient norm")
                charts.append(bar_chart(labels, groups, series, ceiling))
    return charts


def depth_tables(log: Log) -> list[ProbeTable]:
    """The numbers of `depth_charts`."""
    tables = []
    for row in _probes(log):
        columns = [_norms(row, key, stream) for stream in _STREAMS for key in (_WITHOUT, _WITH)]
        depth = max(map(len, columns))
        padded = [norms + [None] * (depth - len(norms)) for norms in columns]
        lines = [(str(block), *map(number, line)) for block, line in enumerate(zip(*padded, strict=True))]
        tables.append(ProbeTable(row["step"], lines))
    return tables


def phase_rows(log: Log) -> list[PhaseRow]:
    """Seconds per phase, in the order of the log, then their sum."""
    keys = list(dict.fromkeys(key for row in log for key in row if key.startswith("seconds_")))
    columns = {key: [value for value in column(log, key) if value is not None] for key in keys}
    every = sum(map(sum, columns.values()))
    rows = []
    for key, values in columns.items():
        if values:
            total = sum(values)
            share = f"{100 * total / every:.1f} %" if every else "–"
            name = key.removeprefix("seconds_")
            rows.append(PhaseRow(name, number(total / len(values)), number(total), share))
    if len(rows) > 1:
        rows.append(PhaseRow("all phases", number(every / len(log)), number(every), "100 %"))
    return rows


def _curve(
    log: Log, title: str, label: str, values: Sequence[Value], bounds: tuple[float, float] | None = None
) -> Markup:
    """One quantity over steps; with a running mean where the run is long enough for one."""
    steps = [row["step"] for row in log]
    series = [Series("each step", values)]
    if len(steps) >= 20:
        smooth = running_mean(values, _SMOOTHED)
        series = [Series("each step", values, "raw"), Series(f"mean over {_SMOOTHED} steps", smooth, dots=False)]
    return line_chart(Labels(title, "step", label), steps, series, bounds)


def _several(log: Log, title: str, label: str, keys: Mapping[str, str]) -> list[Markup]:
    """One chart of several keys; none where no step has any of them."""
    found = [(name, key) for name, key in keys.items() if _logged(log, key)]
    series = [
        Series(name, column(log, key), f"s{place}", dots=len(found) == 1) for place, (name, key) in enumerate(found)
    ]
    return [line_chart(Labels(title, "step", label), [row["step"] for row in log], series)] if series else []


def _logged(log: Log, key: str) -> bool:
    return any(key in row for row in log)


def _mean(values: Sequence[Value]) -> Value:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _probes(log: Log) -> list[Mapping[str, Any]]:
    """The first and the last step with norms by depth; one of them where they are the same."""
    rows = [row for row in log if isinstance(row.get(_WITH) or row.get(_WITHOUT), Mapping)]
    return rows[:1] + rows[1:][-1:]


def _norms(row: Mapping[str, Any], key: str, stream: str) -> list[Value]:
    by_stream = row.get(key)
    norms = by_stream.get(stream) if isinstance(by_stream, Mapping) else None
    return [finite(value) for value in norms or []]


def _bars(row: Mapping[str, Any], stream: str) -> list[Series]:
    without, operated = _norms(row, _WITHOUT, stream), _norms(row, _WITH, stream)
    if not without:
        return [Series("gradient", operated)] if operated else []
    depth = max(len(without), len(operated))
    pairs = (("without surgery", without, "plain"), ("with surgery", operated, "s0"))
    return [Series(name, norms + [None] * (depth - len(norms)), style) for name, norms, style in pairs]
