"""`omninft-train sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from avbench.terminal.output import say
from omninft_train.cli.options import RunFolder


def command(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the clips and their manifest.")],
    prompts: Annotated[Path | None, typer.Option("--prompts", help="JSONL; default: the run's own prompts.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Only the first prompts.")] = None,
    samples: Annotated[int, typer.Option("--samples", help="Clips per prompt.")] = 1,
    role: Annotated[
        Literal["policy", "old", "reference"], typer.Option("--role", help="reference: before training.")
    ] = "policy",
    steps: Annotated[int | None, typer.Option("--steps", help="Sampling steps; default: twice those of training.")] = (
        None
    ),
    guidance: Annotated[
        tuple[float, float] | None, typer.Option("--guidance", help="Of video and audio; default: those of training.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give all policies equal noise.")] = 0,
    batch: Annotated[int | None, typer.Option("--batch", help="Clips per forward pass.")] = None,
) -> None:
    """Generate clips (mp4) with a run's policy, and a manifest for `avbench score`."""
    from dataclasses import replace

    from omninft_train.generate import Generation, default_device, generate, load_trained, read_config, write_clips
    from omninft_train.prompts import load_prompts
    from omninft_train.training.assemble import load_training_prompts

    chosen = (load_prompts(prompts) if prompts else load_training_prompts(read_config(run)))[:limit]
    trained = load_trained(run, default_device(), [prompt.prompt_av for prompt in chosen])
    sampling = trained.config.sampling
    training_guidance = sampling.guidance
    how = Generation(
        role=role,
        samples=samples,
        steps=steps or 2 * sampling.steps,
        guidance=replace(training_guidance, video=guidance[0], audio=guidance[1]) if guidance else training_guidance,
        seed=seed,
        batch=batch or sampling.batch,
    )
    clips = generate(trained.backbone, trained.policy, chosen, how)
    manifest = write_clips(out, clips, chosen, f"{role}-step-{trained.step}")
    say(f"{sum(map(len, clips))} clips. Score them with: avbench score {manifest}")
