"""`omninft-train conflicts`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.terminal.output import say
from omninft_train.cli.options import Moved, Role, RunFolder, Step


def command(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="JSON file for one row of rewards per rollout.")],
    prompts: Annotated[
        int | None, typer.Option("--prompts", min=1, help="Groups; default: one for each prompt.")
    ] = None,
    group_size: Annotated[
        int | None, typer.Option("--group-size", min=1, help="Rollouts of a group; default: the run's.")
    ] = None,
    role: Role = "policy",
    seed: Annotated[int | None, typer.Option("--seed", help="Of the noise; default: the run's.")] = None,
    step: Step = "last",
    overrides: Moved = None,
) -> None:
    """Sample groups of rollouts as training does, and write their rewards, to study how far they disagree."""
    from omninft_train.evaluate import group_rewards
    from omninft_train.evaluation import write_json
    from omninft_train.generate import Generation, load_trained, read_config, step_number
    from omninft_train.judging import clear
    from omninft_train.training.agreement import check_shared
    from omninft_train.training.assemble import load_training_prompts
    from omninft_train.training.distributed import joined

    changed = overrides or ()
    with joined() as world:
        config = read_config(run, overrides=changed)
        chosen = load_training_prompts(config)[:prompts]
        number = step_number(run, step)
        check_shared(out.parent, world)  # makes the folder
        trained = load_trained(run, chosen, world, number, changed)
        sampling = config.sampling
        size = group_size or config.prompts.group_size
        noise = config.run.seed if seed is None else seed
        how = Generation(role, size, sampling.steps, sampling.guidance, noise, sampling.batch)
        rewards = group_rewards(trained, chosen, how, out, world)
        if rewards is not None:
            write_json(rewards, out)
            clear(out)
            say(str(out))
