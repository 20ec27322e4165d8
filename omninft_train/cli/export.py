"""`omninft-train export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avbench.terminal.output import say
from omninft_train.cli.options import RunFolder


def command(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the weights.")],
) -> None:
    """Write the trained weights for diffusers: a LoRA for load_lora_weights, or a whole transformer."""
    from omninft_train.export import export
    from omninft_train.generate import load_trained

    trained = load_trained(run, "cpu")
    say(f"written: {export(trained.policy, out)}")
