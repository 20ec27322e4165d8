"""`omninft-train miniature`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.terminal.output import say
from omninft_train.cli.options import Overrides, Recipe


def command(
    out: Annotated[Path, typer.Option("--out", help="Folder of everything that is made; what is there is used.")],
    recipe: Recipe = "omninft",
    set_: Overrides = None,
    pretraining: Annotated[int | None, typer.Option("--pretraining-steps", help="Default: as shipped.")] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder of pretrainings; default: pretraining in --out.")
    ] = None,
    world: Annotated[str, typer.Option("--world", help="miniature (one shape) or crowd (three).")] = "miniature",
    samples: Annotated[
        int,
        typer.Option("--samples", min=1, help="Clips for each prompt that training does not see, before and after."),
    ] = 8,
) -> None:
    """Do everything on a laptop: pretrain a tiny joint model, post-train it, sample, score, and write a page."""
    from dataclasses import replace

    from omninft_train.miniature.pretrain import shipped
    from omninft_train.miniature.showcase import Showcase, run_showcase

    options = shipped(world)
    if pretraining is not None:
        options = replace(options, steps=pretraining, warmup=min(options.warmup, max(1, pretraining // 2)))
    show = Showcase(recipe, set_ or [], out, cache or out / "pretraining", options, samples)
    say(str(run_showcase(show)))
