"""Policy of the gate, what counts as a regression: a small TOML file, with defaults that need none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from avbench.config import NOT_EMPTY, at_least, between, build, key, refuse
from avbench.errors import UsageError
from avbench.toml import KeyPath, Origin, parse_toml, read_text

Goal = Literal["higher", "lower", "keep"]
Environment = Literal["note", "refuse", "ignore"]


@dataclass(frozen=True)
class MetricPolicy:
    """Rules for one metric.

    Attributes:
        direction: which way is better; "keep": neither, and a relevant change is worse. None: as the metric says.
        min_difference: minimal relevant difference of the means, in the metric's unit. None: from `min_effect`.
    """

    direction: Goal | None = None
    min_difference: Annotated[float, at_least(0)] | None = None


@dataclass(frozen=True)
class Policy:
    """What counts as a regression.

    Attributes:
        alpha: how often a check of two equal checkpoints may find any difference at all.
        min_effect: minimal relevant difference of metrics without one of their own, as a fraction of the standard
            deviation of the baseline's scores.
        max_unpaired: fraction of clips that may lack a score in one of the runs before a metric is undecided.
        metrics: names to compare; None for all of the baseline.
        environment: what a difference between package versions or platforms does.
        noise: noise floors of `avbench check calibrate`, or None.
        metric: what is asked of single metrics, by name.
        source: the file, for messages. origin: its text, for the lines in them.
    """

    alpha: Annotated[float, between(1e-6, 0.5)] = 0.05
    min_effect: Annotated[float, between(0, 100)] = 0.2
    max_unpaired: Annotated[float, between(0, 1)] = 0.1
    metrics: Annotated[tuple[str, ...], NOT_EMPTY] | None = None
    environment: Environment = "note"
    noise: Path | None = None
    metric: Mapping[str, MetricPolicy] = field(default_factory=dict)
    source: str = key(None, default="the policy")
    origin: Origin | None = key(None, default=None, compare=False, repr=False)  # noqa: RUF009 - makes a field

    def of(self, name: str) -> MetricPolicy:
        """Rules for a metric."""
        return self.metric.get(name, MetricPolicy())

    def refuse(self, path: KeyPath, reason: str) -> UsageError:
        """The error to raise for a value that does not fit the runs; it names file and line."""
        return refuse(self.origin or Origin(self.source), path, reason)


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        UsageError: no such file, no TOML, an unknown key, a value of a wrong kind or size; with the line.
    """
    text = read_text(path)
    origin = Origin(str(path), text)
    policy = build(Policy, parse_toml(text, str(path)), origin)
    return replace(
        policy,
        metrics=None if policy.metrics is None else tuple(dict.fromkeys(policy.metrics)),
        noise=path.parent / policy.noise if policy.noise else None,
        source=str(path),
        origin=origin,
    )
