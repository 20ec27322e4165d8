"""`omninft-train pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.terminal.output import say


def command(
    out: Annotated[Path, typer.Option("--out", help="Folder that holds pretrainings, one folder each.")],
    seed: Annotated[int, typer.Option("--seed", help="Of weights, scenes and noise.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", help="Optimiser steps; default: as shipped.")] = None,
    world: Annotated[str, typer.Option("--world", help="miniature (one shape) or crowd (three).")] = "miniature",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the folder, which names the options.")] = False,
) -> None:
    """Pretrain the miniature from random weights; one with the same options is not trained again."""
    from dataclasses import replace

    from omninft_train.miniature.pretrain import folder_of, pretrained, shipped

    options = replace(shipped(world), seed=seed)
    if steps is not None:
        options = replace(options, steps=steps)
    folder = folder_of(out, options) if dry_run else pretrained(out, options, _report_step)
    say(str(folder))


def _report_step(step: int, loss: float) -> None:
    say(f"pretraining step {step}: loss {loss:.4f}", err=True)
