"""`omninft-train evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omninft_train.cli.options import Role, RunFolder, Seed, Step, Steps


def command(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="JSON file for one value per clip and metric.")],
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="JSONL; default: the miniature's held-out prompts.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Clips per prompt.")] = 8,
    role: Role = "policy",
    steps: Steps = None,
    seed: Seed = 0,
    step: Step = "last",
) -> None:
    """Sample clips, and judge them by the run's rewards and by held-out metrics; goes on where it stopped."""
    from avbench.pages.terminal import print_table
    from omninft_train.evaluate import evaluate
    from omninft_train.evaluation import summarise, write_evaluation
    from omninft_train.generate import Generation, evaluation_prompts, load_trained, step_number
    from omninft_train.judging import clear
    from omninft_train.training.agreement import check_shared
    from omninft_train.training.distributed import joined

    with joined() as world:
        chosen = evaluation_prompts(run, prompts)
        number = step_number(run, step)
        check_shared(out.parent, world)  # makes the folder
        trained = load_trained(run, chosen, world, number)
        sampling = trained.config.sampling
        how = Generation(role, samples, steps or 2 * sampling.steps, sampling.guidance, seed, sampling.batch)
        evaluation = evaluate(trained, chosen, how, out, world)
        if evaluation is not None:
            write_evaluation(evaluation, out)
            clear(out)
            print_table(summarise(evaluation))
