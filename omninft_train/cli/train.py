"""`omninft-train train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omninft_train.cli.options import BackboneName, Overrides, Recipe


def command(
    out: Annotated[Path, typer.Option("--out", help="Folder of the run; a run found there goes on.")],
    recipe: Recipe = "omninft",
    backbone: BackboneName = None,
    set_: Overrides = None,
) -> None:
    """Train. Start it by torchrun for several processes; run the same command again to go on after an interruption."""
    from omninft_train.training.distributed import joined

    with joined() as world:
        # A recipe or package that one node alone lacks: whoever has joined tells the others, and none waits for it.
        from avbench.config import located
        from omninft_train.recipe import read
        from omninft_train.training.assemble import assemble
        from omninft_train.training.trainer import train

        loaded = read(recipe, backbone, set_ or [])
        with located(loaded.origins):
            train(assemble(loaded.config, out, world))
