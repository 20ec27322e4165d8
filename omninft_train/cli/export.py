"""`omninft-train export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from avbench.terminal.output import say
from omninft_train.cli.options import RunFolder, Step


def command(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the weights.")],
    form: Annotated[
        Literal["diffusers", "comfyui", "peft", "merged"],
        typer.Option("--format", help="Who is to load them; 'merged': a whole transformer."),
    ] = "diffusers",
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None, typer.Option(help="Number format; default: as it is.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Pipeline that they are for: refused if it is another version than was trained.")
    ] = None,
    step: Step = "last",
) -> None:
    """Write the trained weights of a run; only files are read, so it takes no GPU and no pipeline."""
    from omninft_train.export import ExportOptions, export
    from omninft_train.generate import step_number

    say(f"written: {export(run, out, ExportOptions(form, dtype, base, step_number(run, step)))}")
