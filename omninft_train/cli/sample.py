"""`omninft-train sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.terminal.output import say
from omninft_train.cli.options import Moved, Role, RunFolder, Scales, Seed, Step, Steps


def command(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the clips and their manifest.")],
    prompts: Annotated[Path | None, typer.Option("--prompts", help="JSONL; default: the run's own prompts.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first prompts.")] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Clips per prompt.")] = 1,
    role: Role = "policy",
    steps: Steps = None,
    guidance: Scales = None,
    seed: Seed = 0,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Clips per forward pass.")] = None,
    step: Step = "last",
    overrides: Moved = None,
) -> None:
    """Generate clips (mp4) with a run's policy, and a manifest for `avbench score`; goes on where it stopped."""
    from omninft_train.generate import Generation, load_trained, read_config, sample_clips, scaled, step_number
    from omninft_train.prompts import load_prompts
    from omninft_train.training.agreement import check_shared
    from omninft_train.training.assemble import load_training_prompts
    from omninft_train.training.distributed import joined

    changed = overrides or ()
    with joined() as world:
        whole = load_prompts(prompts) if prompts else load_training_prompts(read_config(run, overrides=changed))
        chosen = whole[:limit]
        number = step_number(run, step)
        check_shared(out, world)  # makes the folder
        trained = load_trained(run, chosen, world, number, changed)
        sampling = trained.config.sampling
        how = Generation(
            role=role,
            samples=samples,
            steps=steps or 2 * sampling.steps,
            guidance=scaled(sampling.guidance, guidance),
            seed=seed,
            batch=batch or sampling.batch,
        )
        manifest = sample_clips(out, trained, chosen, how, world)
        if world.is_main:
            say(f"{len(chosen) * samples} clips. Score them with: avbench score {manifest}")
