"""Warn of reward hacking: rewards rise while held-out metrics fall, so the policy may be gaming its rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avbench.direction import Direction
from avbench.pages.numbers import format_significant, with_sign
from avbench.statistics import Interval
from omninft_train.evaluation import Evaluation, Metric, change

ALARMS = 0.05
"""Probability of any false warning in a whole run is at most this."""


@dataclass(frozen=True)
class Fall:
    """A held-out metric that got worse while rewards rose.

    Attributes:
        metric: its name.
        since, step: the two evaluations.
        change: of the metric, with the interval that decided.
        rewards: what rose meanwhile, by name, with 95 % intervals.
    """

    metric: str
    since: int
    step: int
    change: Interval
    rewards: Mapping[str, Interval]

    @property
    def sentence(self) -> str:
        """The warning in words."""
        rose = ", ".join(f"{name} {_shown(one)}" for name, one in self.rewards.items())
        return (
            f"step {self.step} against step {self.since}: held-out {self.metric} got worse ({_shown(self.change)}) "
            f"while rewards rose ({rose}). The policy may be gaming its rewards: look at clips of both steps."
        )


def falls(evaluations: Sequence[Evaluation], planned: int) -> list[Fall]:
    """Held-out metrics that are worse in the last of some evaluations than in an earlier one, while a reward rose.

    Each change is the mean difference of the same clips, with an interval over prompts that has to leave out 0: of 95 %
    for rewards, and for held-out metrics so wide (Bonferroni) that all comparisons of a run together give a false
    warning with a probability below `ALARMS`.

    Args:
        evaluations: of one run, in the order of their steps.
        planned: how many evaluations the whole run makes.

    Returns:
        At most one for each metric: against the evaluation since which it fell most.
    """
    if not evaluations:
        return []
    *earlier, last = evaluations
    held_out = [
        name for name, metric in last.metrics.items() if not metric.rewarded and metric.higher_is_better is not None
    ]
    total = max(planned, len(evaluations))
    level = 1 - ALARMS / max(1, len(held_out) * total * (total - 1) // 2)
    worst = []
    for name in held_out:
        since = [fall for before in earlier if (fall := _fall(before, last, name, level)) is not None]
        worst += sorted(since, key=lambda fall: -abs(fall.change.mean or 0.0))[:1]
    return worst


def latest_falls(evaluations: Sequence[Evaluation], planned: int) -> list[Fall]:
    """Of all that `falls` said after each evaluation of a run, the last for each metric."""
    every = (fall for count in range(len(evaluations)) for fall in falls(evaluations[: count + 1], planned))
    return list({fall.metric: fall for fall in every}.values())


def _fall(before: Evaluation, after: Evaluation, name: str, level: float) -> Fall | None:
    if not before.pairs_with(after) or name not in before.metrics:
        return None
    fallen = change(before, after, name, level)
    if _moved(after.metrics[name], fallen) is not False:
        return None
    rose = {
        key: one
        for key, metric in after.metrics.items()
        if metric.rewarded and key in before.metrics and _moved(metric, one := change(before, after, key))
    }
    return Fall(name, before.step, after.step, fallen, rose) if rose else None


def _moved(metric: Metric, one: Interval) -> bool | None:
    """Whether a change is for the better; None for one that may be noise."""
    if not one.excludes_zero or one.mean is None:
        return None
    return Direction.of(metric.higher_is_better).better(one.mean)


def _shown(one: Interval) -> str:
    mean, *ends = (with_sign(format_significant(value)) for value in (one.mean, one.low, one.high))
    return f"{mean} [{', '.join(ends)}]"
