"""`omninft-train evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omninft_train.cli.options import Moved, Role, RunFolder, Scales, Seed, Step, Steps


def command(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="JSON file for one value per clip and metric.")],
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="JSONL; default: evaluation.prompts of the run, or the miniature's own."),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Clips per prompt.")] = 8,
    role: Role = "policy",
    steps: Steps = None,
    guidance: Scales = None,
    seed: Seed = 0,
    step: Step = "last",
    overrides: Moved = None,
) -> None:
    """Sample clips, and judge them by the run's rewards and by held-out metrics; goes on where it stopped."""
    from avbench.pages.terminal import print_table
    from omninft_train.evaluate import evaluate
    from omninft_train.evaluation import summarise, write_evaluation
    from omninft_train.generate import Generation, load_trained, read_config, scaled, step_number
    from omninft_train.judging import clear
    from omninft_train.prompts import load_prompts
    from omninft_train.training.agreement import check_shared
    from omninft_train.training.assemble import prompts_aside
    from omninft_train.training.distributed import joined

    changed = overrides or ()
    with joined() as world:
        chosen = load_prompts(prompts) if prompts else prompts_aside(read_config(run, overrides=changed))
        number = step_number(run, step)
        check_shared(out.parent, world)  # makes the folder
        trained = load_trained(run, chosen, world, number, changed)
        sampling = trained.config.sampling
        strength = scaled(sampling.guidance, guidance)
        how = Generation(role, samples, steps or 2 * sampling.steps, strength, seed, sampling.batch)
        evaluation = evaluate(trained, chosen, how, out, world)
        if evaluation is not None:
            write_evaluation(evaluation, out)
            clear(out)
            print_table(summarise(evaluation))
