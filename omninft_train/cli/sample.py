"""`omninft-train sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.terminal.output import say
from omninft_train.cli.options import Role, RunFolder, Seed, Step, Steps


def command(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the clips and their manifest.")],
    prompts: Annotated[Path | None, typer.Option("--prompts", help="JSONL; default: the run's own prompts.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first prompts.")] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Clips per prompt.")] = 1,
    role: Role = "policy",
    steps: Steps = None,
    guidance: Annotated[
        tuple[float, float] | None, typer.Option("--guidance", help="Of video and audio; default: those of training.")
    ] = None,
    seed: Seed = 0,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Clips per forward pass.")] = None,
    step: Step = "last",
) -> None:
    """Generate clips (mp4) with a run's policy, and a manifest for `avbench score`; goes on where it stopped."""
    from dataclasses import replace

    from omninft_train.generate import Generation, load_trained, read_config, sample_clips, step_number
    from omninft_train.prompts import load_prompts
    from omninft_train.training.agreement import check_shared
    from omninft_train.training.assemble import load_training_prompts
    from omninft_train.training.distributed import joined

    with joined() as world:
        chosen = (load_prompts(prompts) if prompts else load_training_prompts(read_config(run)))[:limit]
        number = step_number(run, step)
        check_shared(out, world)  # makes the folder
        trained = load_trained(run, chosen, world, number)
        sampling = trained.config.sampling
        usual = sampling.guidance
        how = Generation(
            role=role,
            samples=samples,
            steps=steps or 2 * sampling.steps,
            guidance=replace(usual, video=guidance[0], audio=guidance[1]) if guidance else usual,
            seed=seed,
            batch=batch or sampling.batch,
        )
        manifest = sample_clips(out, trained, chosen, how, world)
        if world.is_main:
            say(f"{len(chosen) * samples} clips. Score them with: avbench score {manifest}")
