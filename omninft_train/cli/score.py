"""`omninft-train score`."""

from __future__ import annotations

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
    from avbench.pages.table import Column, Table, row_of
    from avbench.pages.terminal import print_table
    from avbench.statistics.intervals import mean_interval
    from omninft_train.recipe import load
    from omninft_train.rewards.local import make_rewards, read_clips

    config = load(recipe, backbone, set_ or [])
    decoded, prompts = read_clips(clips)
    scored = make_rewards(config.rewards).score(decoded, prompts, [str(i) for i in range(len(decoded))])
    rows = []
    for index, spec in enumerate(config.rewards.reward):
        valid = scored.valid[:, index]
        values = scored.values[valid, index]
        interval = mean_interval(values, [prompts[clip] for clip in valid.nonzero()[0]])
        mean = "" if interval.mean is None else f"{interval.mean:.4f}"
        ends = interval.reason if interval.low is None else f"{interval.low:.4f} to {interval.high:.4f}"
        rows.append(row_of((spec.name, mean, ends, str(len(values)), str(int((~valid).sum())))))
    names = ("mean", "95 % interval", "clips", "failed")
    columns = (Column("reward", "reward", "word"), *(Column(name, name) for name in names))
    print_table(Table("", columns, tuple(rows)))
    for reason in scored.reasons[:5]:
        say(reason, err=True)
