"""`avbench study`: study reward conflicts on rollouts."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from avbench.terminal.output import say
from omninft_train.cli.options import Role, Step, need_packages

app = typer.Typer(help="Studies of rewards and rollouts.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _root() -> None:
    """Studies of rewards and rollouts."""


@app.command("conflicts")
def conflicts(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Runs of the trainer, folders of 'avbench ablate', or JSON files.", metavar="RUN_OR_FOLDER..."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for tables, plots and a page.")] = Path(
        "runs/conflicts"
    ),
    prompts: Annotated[
        int, typer.Option("--prompts", min=1, help="Groups of rollouts that are made of each run.")
    ] = 175,
    group_size: Annotated[int, typer.Option("--group-size", min=1, help="Rollouts of each prompt.")] = 8,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the rollouts' noise; default: the run's.")] = None,
    role: Role = "policy",
    step: Step = "last",
    std: Annotated[
        Literal["batch", "group"], typer.Option("--std", help="Rewards are divided by this standard deviation.")
    ] = "batch",
    trainer: Annotated[
        str, typer.Option("--trainer", help="Command of the trainer; default: omninft_train of this Python.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No table.")] = False,
) -> None:
    """How often the rewards of a rollout pull video and audio in opposite directions (the paper's Figure 2a).

    Rollouts are sampled by the trainer, in groups of one prompt. JSON files that it wrote before are used as they are.
    """
    need_packages("avbench study conflicts")
    from avbench.pages.terminal import print_table
    from omninft_train.ablation.conflict_files import StudyRequest, run_study, summary_block
    from omninft_train.ablation.conflicts import sentence

    command = shlex.join(["avbench", *sys.argv[1:]])
    called = tuple(shlex.split(trainer)) or (sys.executable, "-m", "omninft_train")
    request = StudyRequest(tuple(sources), out, prompts, group_size, seed, role, std, called, command, step)
    studies = run_study(request)
    if quiet:
        return
    print_table(summary_block(studies))
    for one in studies:
        say(sentence(one))
    say(f"page: {out / 'conflicts.html'}")
