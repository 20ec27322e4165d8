"""What counts as a regression: a small TOML file, with defaults that need none."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from avbench.errors import UsageError

Direction = Literal["higher", "lower", "keep"]
Environment = Literal["note", "refuse", "ignore"]


@dataclass(frozen=True)
class MetricPolicy:
    """What is asked of one metric.

    Attributes:
        direction: which way is better; "keep": neither, and a relevant change is worse. None: as the metric says.
        min_difference: minimal relevant difference of the means, in the metric's unit. None: from `min_effect`.
    """

    direction: Direction | None = None
    min_difference: float | None = None


@dataclass(frozen=True)
class Policy:
    """What counts as a regression.

    Attributes:
        alpha: how often a check of two equal checkpoints may find any difference at all.
        min_effect: minimal relevant difference of metrics without one of their own, as a share of the standard
            deviation of the baseline's scores.
        max_unpaired: share of clips that may lack a score in one of the runs before a metric is undecided.
        metrics: names to compare; None for all of the baseline.
        environment: what a difference between package versions or platforms does.
        noise: noise floors of `avbench check calibrate`, or None.
        metric: what is asked of single metrics, by name.
        source: the file, for messages.
    """

    alpha: float = 0.05
    min_effect: float = 0.2
    max_unpaired: float = 0.1
    metrics: tuple[str, ...] | None = None
    environment: Environment = "note"
    noise: Path | None = None
    metric: Mapping[str, MetricPolicy] = field(default_factory=dict)
    source: str = "the policy"

    def of(self, name: str) -> MetricPolicy:
        """What is asked of a metric."""
        return self.metric.get(name, MetricPolicy())


_KEYS = ("alpha", "min_effect", "max_unpaired", "metrics", "environment", "noise", "metric")
_METRIC_KEYS = ("direction", "min_difference")


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        UsageError: no such file, no TOML (with line and column), an unknown key, a value of a wrong kind or size.
    """
    content = read_toml(path)
    refuse_unknown(content, _KEYS, str(path))
    share = {
        name: _number(content, name, str(path), default, low, high)
        for name, default, low, high in (
            ("alpha", 0.05, 1e-6, 0.5),
            ("min_effect", 0.2, 0.0, 100.0),
            ("max_unpaired", 0.1, 0.0, 1.0),
        )
    }
    noise = content.get("noise")
    if noise is not None and not isinstance(noise, str):
        raise UsageError(f"{path}: noise must be the path of a file, got {noise!r}.")
    return Policy(
        alpha=share["alpha"],
        min_effect=share["min_effect"],
        max_unpaired=share["max_unpaired"],
        metrics=_names(content, path),
        environment=_choice(content, "environment", str(path), ("note", "refuse", "ignore")) or "note",
        noise=path.parent / noise if noise else None,
        metric=_metric_policies(content, path),
        source=str(path),
    )


def _names(content: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    names = content.get("metrics")
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f'{path}: metrics must be a list of names such as ["av_align", "desync"], got {names!r}.')
    return tuple(dict.fromkeys(names))


def _metric_policies(content: Mapping[str, Any], path: Path) -> dict[str, MetricPolicy]:
    tables = content.get("metric", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError(f"{path}: metric must hold one table for each metric: [metric.NAME]")
    found = {}
    for name, table in tables.items():
        place = f"{path} [metric.{name}]"
        refuse_unknown(table, _METRIC_KEYS, place)
        found[name] = MetricPolicy(
            direction=_choice(table, "direction", place, ("higher", "lower", "keep")),
            min_difference=_number(table, "min_difference", place, None, 0.0, 1e300),
        )
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UsageError: it cannot be read or is no TOML; with line and column.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}. Correct it there.") from error


def refuse_unknown(content: Mapping[str, Any], known: Iterable[str], place: str) -> None:
    """Refuse keys that nothing reads.

    Raises:
        UsageError: with near matches.
    """
    for key in content:
        if key not in known:
            near = get_close_matches(key, list(known), n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
            raise UsageError(f"{place}: unknown key {key!r}. {hint}")


def _number(content: Mapping[str, Any], key: str, place: str, default: Any, low: float, high: float) -> Any:
    value = content.get(key, default)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise UsageError(f"{place}: {key} must be a number from {low:g} to {high:g}, got {value!r}.")
    return float(value)


def _choice(content: Mapping[str, Any], key: str, place: str, allowed: tuple[str, ...]) -> Any:
    value = content.get(key)
    if value is not None and value not in allowed:
        raise UsageError(f"{place}: {key} must be one of {', '.join(allowed)}, got {value!r}.")
    return value
