"""Metrics that are judged and never trained on, as rewards of weight 0; and which direction of a metric is better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from avbench.metrics.base import Scorer
from omninft_train.errors import SettingError
from omninft_train.rewards.local import find_source
from omninft_train.rewards.spec import RewardSpec


def held_out_specs(rewards: Sequence[RewardSpec], names: Sequence[str], kind: str) -> tuple[RewardSpec, ...]:
    """What evaluations judge beside the rewards: the miniature's own measures, and those that are named.

    Args:
        rewards: of the run; one of weight 0 is held out already.
        names: of further metrics, as rewards are named.

    Raises:
        UsageError: a metric is a reward as well, or two have one name.
    """
    weights = {spec.scorer: spec.weight for spec in rewards}
    for name in names:
        if weights.get(name):
            raise SettingError(
                f"evaluation.heldout: '{name}' is a reward of this run, so it is not held out.", "evaluation.heldout"
            )
    wanted = dict.fromkeys((*_own(kind), *names))
    specs = tuple(RewardSpec(name, 0.0, "both") for name in wanted if name not in weights)
    count = Counter(spec.name for spec in (*rewards, *specs))
    if repeated := [name for name, times in count.items() if times > 1]:
        raise SettingError(
            f"rewards and evaluation.heldout have two metrics named {', '.join(repeated)}; leave one out.",
            "evaluation.heldout",
        )
    return specs


def higher_is_better(spec: RewardSpec) -> bool | None:
    """Which values are better: of a reward those that training aims at, else those that the metric itself prefers.

    A function may have an attribute `higher_is_better`; without one, higher is better.

    Returns:
        None where neither direction is better.
    """
    if spec.weight:
        return spec.weight > 0
    source = find_source(spec)
    known = source.higher_is_better if isinstance(source, Scorer) else getattr(source, "higher_is_better", True)
    return None if known is None else bool(known) == (spec.scale > 0)


def _own(kind: str) -> tuple[str, ...]:
    if kind == "miniature":
        from omninft_train.miniature.heldout import HELD_OUT

        return HELD_OUT
    if kind == "crowd":
        from omninft_train.miniature.crowd import heldout

        return heldout.HELD_OUT
    return ()
