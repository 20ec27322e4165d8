"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Recipe = Annotated[
    str,
    typer.Option("--recipe", help="vanilla, gdpo, omninft-routing, omninft-routing-surgery, omninft, or a TOML file."),
]
BackboneName = Annotated[
    str | None, typer.Option("--backbone", help="miniature or ltx2; default: what the recipe says, else miniature.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value, as often as needed; wins over the recipe.")
]
RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.", file_okay=False)]
