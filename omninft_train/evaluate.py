"""Evaluate a policy: rewards and held-out metrics of its clips, one value per clip, kept as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

from avbench.config import at_least, build
from avbench.files import make_folder, write_atomically
from avbench.pages.numbers import format_value
from avbench.pages.table import Column, Table, row_of
from avbench.toml import Origin
from omninft_train.config import MINIATURES, RewardSection
from omninft_train.errors import UsageError
from omninft_train.generate import Generation, Job, Trained, jobs_of
from omninft_train.judging import JudgedClip, judge, judged_rows
from omninft_train.models.backbone import Decoded
from omninft_train.prompts import TrainPrompt
from omninft_train.rewards.local import make_rewards
from omninft_train.rewards.spec import RewardSpec
from omninft_train.training.distributed import ALONE, World

SetMetric = Callable[[Sequence[Decoded], Sequence[TrainPrompt]], float]
"""(B clips, the prompt of each) -> one value for all."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        rewarded: whether training saw it.
        values: one per clip, prompts first; None where it failed.
    """

    rewarded: bool
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class Evaluation:
    """One policy on some prompts.

    Attributes:
        role, step: whose clips, after how many optimiser steps.
        seed, samples, sampling_steps: how they were sampled; equal ones mean equal noise, so clips form pairs.
        prompts: their texts; clip i is of prompt i // samples.
        metrics: by name.
        sets: metrics of all clips together.
        failures: reasons of failed values.
    """

    role: str
    step: int
    seed: int
    samples: Annotated[int, at_least(1)]
    sampling_steps: int
    prompts: tuple[str, ...]
    metrics: Mapping[str, Metric]
    sets: Mapping[str, float | None]
    failures: tuple[str, ...]


def evaluate(
    trained: Trained, prompts: Sequence[TrainPrompt], how: Generation, journal: Path, world: World = ALONE
) -> Evaluation | None:
    """Sample clips, and judge them by the run's rewards and by metrics that it did not see, batch by batch.

    Args:
        trained: the policy.
        prompts: to sample from.
        how: see `Generation`.
        journal: where judged clips are kept until the end, so that an interrupted call goes on; see `judged_rows`.
        world: processes that share the work; the first has the evaluation, the others None.

    Raises:
        EnvironmentProblem: a reward cannot run at all, or the journal cannot be written.
    """
    section, sets = _with_held_out(trained.config.rewards, trained.backbone.kind)
    keep: dict[Job, Decoded] | None = {} if sets else None
    rows = judged_rows(trained, prompts, how, section, journal, world, keep)
    if rows is None:
        return None
    clips = [keep[job] for job in jobs_of(prompts, how)] if keep is not None else []
    return _evaluation(trained, prompts, how, section, rows, _of_sets(sets, clips, prompts, how))


def judge_clips(
    trained: Trained, clips: Sequence[Sequence[Decoded]], prompts: Sequence[TrainPrompt], how: Generation
) -> Evaluation:
    """Judge clips that `generate` made with the same arguments."""
    flat = [clip for of_prompt in clips for clip in of_prompt]
    section, sets = _with_held_out(trained.config.rewards, trained.backbone.kind)
    with closing(make_rewards(section)) as rewards:
        rows = judge(rewards, list(zip(jobs_of(prompts, how), flat, strict=True)), prompts)
    return _evaluation(trained, prompts, how, section, rows, _of_sets(sets, flat, prompts, how))


def _of_sets(
    sets: Mapping[str, SetMetric], clips: Sequence[Decoded], prompts: Sequence[TrainPrompt], how: Generation
) -> dict[str, float | None]:
    texts = [prompts[job.prompt] for job in jobs_of(prompts, how)]
    return _finite({name: metric(clips, texts) for name, metric in sets.items()})


def _evaluation(
    trained: Trained,
    prompts: Sequence[TrainPrompt],
    how: Generation,
    section: RewardSection,
    rows: Sequence[JudgedClip],
    sets: Mapping[str, float | None],
) -> Evaluation:
    return Evaluation(
        role=how.role,
        step=trained.step,
        seed=how.seed,
        samples=how.samples,
        sampling_steps=how.steps,
        prompts=tuple(prompt.prompt_av for prompt in prompts),
        metrics={
            spec.name: Metric(spec.weight != 0, tuple(row.values[number] for row in rows))
            for number, spec in enumerate(section.reward)
        },
        sets={**sets, **_probes(trained, prompts, how)},
        failures=tuple(reason for row in rows for reason in row.reasons),
    )


def _with_held_out(section: RewardSection, kind: str) -> tuple[RewardSection, dict[str, SetMetric]]:
    """Rewards with held-out metrics of weight 0 beside them, where the backbone has any."""
    if kind not in MINIATURES:
        return section, {}
    from omninft_train.miniature.measures import held_out

    names, sets = held_out(kind)
    known = {spec.scorer for spec in section.reward}
    extra = tuple(RewardSpec(name, 0.0, "both") for name in names if name not in known)
    return replace(section, reward=section.reward + extra), sets


def _probes(trained: Trained, prompts: Sequence[TrainPrompt], how: Generation) -> dict[str, float | None]:
    """Figures of the network itself, where the backbone has any."""
    if trained.backbone.kind not in MINIATURES:
        return {}
    from omninft_train.miniature.measures import probes

    return _finite(probes(trained, how.role, prompts, how.seed))


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


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


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write as JSON, aside and renamed.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    write_json(asdict(evaluation), path)


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write any JSON, aside and renamed.

    Raises:
        EnvironmentProblem: it cannot be written.
    """
    make_folder(path.parent, "--out")
    write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_evaluation(path: Path) -> Evaluation:
    """Read an evaluation that `write_evaluation` wrote.

    Raises:
        UsageError: no such file, or not one of these.
    """
    try:
        return build(Evaluation, json.loads(path.read_text(encoding="utf-8")), Origin(str(path)))
    except (OSError, ValueError, UsageError) as error:
        raise UsageError(f"{path}: not an evaluation of the trainer ({error}).") from error


_COLUMNS = (
    Column("metric", "metric", "word"), Column("rewarded", "rewarded", "word"), Column("mean", "mean"),
    Column("error", "standard error"), Column("clips", "clips"), Column("failed", "failed"),
)  # fmt: skip


def summarise(evaluation: Evaluation) -> Table:
    """Mean, standard error and failures of each metric, as a table."""
    rows = []
    for name, metric in evaluation.metrics.items():
        count = sum(value is not None for value in metric.values)
        shown = [format_value(value, 4) for value in mean_and_error(metric)]
        rewarded = "yes" if metric.rewarded else "no"
        rows.append(row_of((name, rewarded, *shown, str(count), str(len(metric.values) - count))))
    rows += [row_of((name, "no", format_value(value, 4), "", "all", "")) for name, value in evaluation.sets.items()]
    return Table("", _COLUMNS, tuple(rows))


def mean_and_error(metric: Metric) -> tuple[float | None, float | None]:
    """Mean of the values that there are, and its standard error."""
    values = [value for value in metric.values if value is not None]
    if not values:
        return None, None
    return fmean(values), stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
