"""The page of a run as its folder has it: log, evaluations while training, and clips of the first and the last one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omninft_train.config import Config
from omninft_train.evaluation import Evaluation, evaluation_folder, read_evaluations
from omninft_train.generate import Job, read_config
from omninft_train.recipe import to_toml
from omninft_train.report.content import Report
from omninft_train.report.scores import clip_pairs, score_rows
from omninft_train.reward_hacking import latest_falls
from omninft_train.training.evaluating import planned
from omninft_train.training.tracking import read_metrics


def report_of_run(run: Path) -> Report:
    """What the page of a run shows; a run that still trains is shown as far as it is.

    Raises:
        UsageError: it has no checkpoint yet, or a file is damaged.
    """
    config, evaluations = read_config(run), list(read_evaluations(run).values())
    fallen = latest_falls(evaluations, planned(config))
    compared = [one for one in evaluations if one.pairs_with(evaluations[-1])]
    first, last = (compared[0], compared[-1]) if len(compared) > 1 else (None, None)

    def files(number: int) -> tuple[Path, Path]:
        before, after = (evaluation_folder(run, one.step) / Job(number, 0).file for one in (compared[0], compared[-1]))
        return before, after

    return Report(
        title=f"Training of {run.absolute().name}",
        recipe=_method(config),
        seed=config.run.seed,
        config_toml=to_toml(config),
        log=read_metrics(run),
        pairs=clip_pairs(first, last, files) if first and last else [],
        scores=score_rows(first, last) if first and last else [],
        overlays=[],
        notes=_notes(config, evaluations),
        evaluations=evaluations,
        warnings=[fall.sentence for fall in fallen],
        weights={spec.name: spec.weight for spec in config.rewards.reward},
    )


def _method(config: Config) -> str:
    """A run keeps its resolved recipe and not the name that it had."""
    parts = [f"{config.advantages.mode} advantages"]
    for name in ("surgery", "regions", "marble", "arr"):
        parts += [name] if getattr(config, name).enabled else []
    return ", ".join(parts)


def _notes(config: Config, evaluations: Sequence[Evaluation]) -> list[str]:
    prompts = config.prompts
    notes = [
        f"{prompts.groups} prompts x {prompts.group_size} rollouts a step, {config.sampling.steps} sampling steps, "
        f"{config.run.steps} steps planned."
    ]
    if evaluations:
        last = evaluations[-1]
        notes.append(
            f"Evaluated every {config.run.eval_every} steps: {last.samples} clips of each of {len(last.prompts)} "
            f"prompts from equal noise, {last.sampling_steps} sampling steps. Before and after: the first and the last."
        )
    return notes
