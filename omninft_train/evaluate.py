"""Evaluate a policy: rewards and held-out metrics of its clips, one value per clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avbench.pages.numbers import finite
from omninft_train.config import MINIATURES, Config, RewardSection
from omninft_train.evaluation import Evaluation, Metric
from omninft_train.generate import Generation, Trained, jobs_of
from omninft_train.judging import judged_rows, texts_digest
from omninft_train.prompts import TrainPrompt
from omninft_train.rewards.held_out import held_out_specs, higher_is_better
from omninft_train.rewards.spec import Rewards, Score, SetMetric
from omninft_train.training.distributed import ALONE, World
from omninft_train.training.rollout import NOISE


def evaluate(
    trained: Trained,
    prompts: Sequence[TrainPrompt],
    how: Generation,
    journal: Path,
    world: World = ALONE,
    *,
    running: Rewards | None = None,
    clips: Path | None = None,
) -> Evaluation | None:
    """Sample clips, and judge them by the run's rewards and by metrics that it did not see, batch by batch.

    Args:
        trained: the policy.
        prompts: to sample from.
        how: see `Generation`.
        journal: where judged clips are kept until the end, so that an interrupted call goes on; see `judged_rows`.
        world: processes that share the work; the first has the evaluation, the others None.
        running: the run's own rewards, where they are open already.
        clips: folder that the clips are kept in.

    Raises:
        EnvironmentProblem: a reward cannot run at all, or the journal cannot be written.
    """
    section, sets = _with_held_out(trained.config), _set_metrics(trained.backbone.kind)
    rows = judged_rows(trained, prompts, how, section, journal, world, sets=sets, running=running, clips=clips)
    figures = _probes(trained, prompts, how)  # in all processes: spread networks need each of them in every pass
    if rows is None:
        return None
    texts = [prompts[job.prompt] for job in jobs_of(prompts, how)]
    of_sets = {name: metric.of_set([row.statistics[name] for row in rows], texts) for name, metric in sets.items()}
    figures = {**of_sets, **figures}
    missing = tuple(f"{name}: {value}" for name, value in figures.items() if isinstance(value, str))
    return Evaluation(
        role=how.role,
        step=trained.step,
        seed=how.seed,
        samples=how.samples,
        sampling_steps=how.steps,
        prompts=tuple(prompt.prompt_av for prompt in prompts),
        metrics={
            spec.name: Metric(spec.weight != 0, tuple(row.values[number] for row in rows), higher_is_better(spec))
            for number, spec in enumerate(section.reward)
        },
        sets={name: finite(value) for name, value in figures.items()},
        failures=tuple(reason for row in rows for reason in row.reasons) + missing,
        noise=NOISE,
        texts=texts_digest(prompts),
        guidance=(how.guidance.video, how.guidance.audio, how.guidance.stg),
    )


def _with_held_out(config: Config) -> RewardSection:
    """Rewards with held-out metrics of weight 0 behind them."""
    section = config.rewards
    extra = held_out_specs(section.reward, config.evaluation.heldout, config.backbone.kind)
    return replace(section, reward=section.reward + extra)


def _set_metrics(kind: str) -> dict[str, SetMetric]:
    """Metrics of all clips together, where the backbone has any."""
    if kind not in MINIATURES:
        return {}
    from omninft_train.miniature.measures import set_metrics

    return set_metrics(kind)


def _probes(trained: Trained, prompts: Sequence[TrainPrompt], how: Generation) -> dict[str, Score]:
    """Figures of the network itself, where the backbone has any."""
    if trained.backbone.kind not in MINIATURES:
        return {}
    from omninft_train.miniature.measures import probes

    return probes(trained, how.role, prompts, how.seed)


def group_rewards(
    trained: Trained, prompts: Sequence[TrainPrompt], how: Generation, journal: Path, world: World = ALONE
) -> dict[str, Any] | None:
    """Rewards of groups of rollouts, one group of `how.samples` for each prompt.

    Args:
        trained, prompts, how, journal, world: as for `evaluate`.

    Returns:
        "rewards", "routes", "weights": R each; "groups": B; "values": (B, R), null where invalid; "valid": (B, R).
        None in all processes but the first.
    """
    rows = judged_rows(trained, prompts, how, trained.config.rewards, journal, world)
    if rows is None:
        return None
    specs = trained.config.rewards.reward
    return {
        "rewards": [spec.name for spec in specs],
        "routes": [spec.route for spec in specs],
        "weights": [spec.weight for spec in specs],
        "groups": [job.prompt for job in jobs_of(prompts, how)],
        "values": [list(row.values) for row in rows],
        "valid": [[value is not None for value in row.values] for row in rows],
    }
