"""Choose the best policy of a run: by what was logged while it trained, or by its evaluations."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from omninft_train.config import Config
from omninft_train.errors import SettingError, UsageError, near
from omninft_train.evaluation import read_evaluations
from omninft_train.rewards.held_out import held_out_specs, higher_is_better
from omninft_train.training import checkpoint
from omninft_train.training.tracking import best_step

_EVALUATED = "eval_"


def eval_key(name: str) -> str:
    """The key under which a metric of evaluations is logged."""
    return f"{_EVALUATED}{name}"


def by_evaluations(key: str) -> bool:
    """Whether a key names a metric of evaluations, and not a value of the log."""
    return key.startswith(_EVALUATED)


def check_best(config: Config) -> None:
    """Whether a run can keep its best policy as it is told to.

    Raises:
        UsageError: it names nothing to choose by, or a metric that no evaluation has or that has no better side.
    """
    run = config.run
    if run.best_by is None:
        if run.keep_policies == "best":
            raise SettingError(
                'run.keep_policies = "best": run.best_by has to name a logged value, as "reward_sync_mean".',
                "run.keep_policies",
            )
        return
    if not by_evaluations(run.best_by):
        return
    if not run.eval_every:
        raise SettingError(f"run.best_by = '{run.best_by}': nothing is evaluated; set run.eval_every.", "run.best_by")
    extra = held_out_specs(config.rewards.reward, config.evaluation.heldout, config.backbone.kind)
    known = {eval_key(spec.name): spec for spec in (*config.rewards.reward, *extra)}
    if run.best_by not in known:
        raise SettingError(
            f"run.best_by = '{run.best_by}': no evaluation has that. {near(run.best_by, known)}", "run.best_by"
        )
    if higher_is_better(known[run.best_by]) is None:
        raise SettingError(f"run.best_by = '{run.best_by}': neither direction of this metric is better.", "run.best_by")


def without_pairs(folder: Path, key: str) -> set[int]:
    """Steps whose evaluation cannot be compared with the newest one; nobody can tell whether they are better."""
    if not by_evaluations(key):
        return set()
    evaluations = read_evaluations(folder)
    return {step for step, one in evaluations.items() if not one.pairs_with(evaluations[max(evaluations)])}


def best_policy(folder: Path, key: str, window: int) -> int:
    """The saved step whose policy did best.

    Args:
        key: of the log, for the mean over the steps before a saved one; or "eval_NAME", for the mean of a metric over
            the clips of an evaluation. Evaluations count whose clips form pairs with those of the newest one. A clip
            where the metric failed has the worst value of them all: a policy that breaks clips is not the best for it.
        window: how many steps a mean of the log goes back.

    Raises:
        UsageError: no saved step has that value.
    """
    saved = checkpoint.policies(folder)
    if not by_evaluations(key):
        return best_step(folder, key, saved, window)
    name = key.removeprefix(_EVALUATED)
    evaluations = {step: one for step, one in read_evaluations(folder).items() if step in saved}
    having = {step: one for step, one in evaluations.items() if name in one.metrics and one.mean(name).mean is not None}
    if not having:
        names = sorted({eval_key(metric) for one in evaluations.values() for metric in one.metrics})
        raise UsageError(f"{folder}: no saved step has an evaluation with '{key}'. {near(key, names)}")
    newest = having[max(having)]
    sign = -1 if newest.metrics[name].higher_is_better is False else 1
    values = {
        step: [None if value is None else sign * value for value in one.metrics[name].values]
        for step, one in having.items()
        if one.pairs_with(newest)
    }
    worst = min(value for row in values.values() for value in row if value is not None)
    return max(values, key=lambda step: fmean(worst if value is None else value for value in values[step]))
