"""Choose the best policy of a run: by what was logged while it trained, or by its evaluations."""

from __future__ import annotations

from pathlib import Path

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


def best_policy(folder: Path, key: str, window: int) -> int:
    """The saved step whose policy did best.

    Args:
        key: of the log, for the mean over the steps before a saved one; or "eval_NAME", for the mean of a metric over
            the clips of an evaluation.
        window: how many steps a mean of the log goes back.

    Raises:
        UsageError: no saved step has that value.
    """
    saved = checkpoint.policies(folder)
    if not by_evaluations(key):
        return best_step(folder, key, saved, window)
    name = key.removeprefix(_EVALUATED)
    evaluations = {step: one for step, one in read_evaluations(folder).items() if step in saved}
    scores: dict[int, float] = {}
    for step, one in evaluations.items():
        if name in one.metrics and (mean := one.mean(name).mean) is not None:
            scores[step] = -mean if one.metrics[name].higher_is_better is False else mean
    if not scores:
        names = sorted({eval_key(metric) for one in evaluations.values() for metric in one.metrics})
        raise UsageError(f"{folder}: no saved step has an evaluation with '{key}'. {near(key, names)}")
    return max(scores, key=lambda step: scores[step])
