"""`omninft-train score`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from avbench.terminal.output import say
from omninft_train.cli.options import BackboneName, Overrides, Recipe


def command(
    clips: Annotated[Path, typer.Argument(help="Folder or manifest of clips, as `sample` writes it.")],
    recipe: Recipe = "omninft",
    backbone: BackboneName = None,
    set_: Overrides = None,
) -> None:
    """Print what a recipe's rewards say of clips on disk: means with 95 % intervals over prompts, and failures."""
    from avbench.config import located
    from avbench.errors import UsageError
    from avbench.pages.table import Column, Table, row_of
    from avbench.pages.terminal import print_table
    from omninft_train.judging import judged_files
    from omninft_train.recipe import read
    from omninft_train.rewards.local import make_rewards

    loaded = read(recipe, backbone, set_ or [])
    if not loaded.backbone_named:
        raise UsageError(
            "whose rewards (--backbone)? Those of ltx2 judge any clips; those of miniature and crowd know clips of "
            "their own worlds alone."
        )
    config = loaded.config
    with located(loaded.origins):
        rewards = make_rewards(config.rewards)
    with closing(rewards):
        prompts, judged = judged_files(clips, rewards)
    rows = [
        row_of((spec.name, *figures([row.values[index] for row in judged], prompts)))
        for index, spec in enumerate(config.rewards.reward)
    ]
    names = ("mean", "95 % interval", "clips", "failed")
    columns = (Column("reward", "reward", "word"), *(Column(name, name) for name in names))
    print_table(Table("", columns, tuple(rows)))
    for reason in [reason for row in judged for reason in row.reasons][:5]:
        say(reason, err=True)


def figures(values: Sequence[float | None], prompts: Sequence[Hashable]) -> tuple[str, str, str, str]:
    """Mean, its 95 % interval or why there is none, how many clips have a value, and how many do not.

    Args:
        values: one for each clip; None where the reward failed.
        prompts: the prompt of each clip; samples of one prompt count together.
    """
    from avbench.statistics.intervals import mean_interval

    judged = [(value, prompt) for value, prompt in zip(values, prompts, strict=True) if value is not None]
    interval = mean_interval([value for value, _ in judged], [prompt for _, prompt in judged])
    mean = "" if interval.mean is None else f"{interval.mean:.4f}"
    ends = interval.reason if interval.low is None else f"{interval.low:.4f} to {interval.high:.4f}"
    return mean, ends, str(len(judged)), str(len(values) - len(judged))
