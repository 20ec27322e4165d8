"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Layout = Literal["auto", "folder", "javisbench", "vbench"]

SourceArgument = Annotated[
    Path, typer.Argument(help="Folder of videos, one video, or a manifest (CSV, JSONL, Parquet).")
]
PromptsOption = Annotated[
    Path | None,
    typer.Option("--prompts", "-p", help="Prompt file for a folder: CSV, JSONL, Parquet or one per line."),
]
LayoutOption = Annotated[Layout, typer.Option(help="How a folder names its clips; 'auto' looks.")]
AllowOutside = Annotated[bool, typer.Option(help="Let a manifest name files outside its own folder.")]
