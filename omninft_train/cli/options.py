"""Options that several commands share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from avbench.errors import EnvironmentProblem
from omninft_train.recipes import BACKBONES, RECIPES, VARIANTS

Recipe = Annotated[str, typer.Option("--recipe", help=f"{', '.join(RECIPES)}, or a TOML file.")]
BackboneName = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help=f"{', '.join((*BACKBONES, *VARIANTS))}; default: what the recipe says, else miniature.",
    ),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value, as often as needed; wins over the recipe.")
]
Moved = Annotated[
    list[str] | None,
    typer.Option("--set", help="section.key=value instead of the run's own: backbone.path of a base that was moved."),
]
Step = Annotated[
    str, typer.Option("--step", help="Whose policy: a saved step, or the best by run.best_by.", metavar="N|best|last")
]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Sampling steps; default: twice those of training.")]
Scales = Annotated[
    tuple[float, float] | None,
    typer.Option("--guidance", help="Guidance of video and of audio; default: those of training."),
]
Seed = Annotated[int, typer.Option("--seed", help="Equal seeds give all policies equal noise.")]
Role = Annotated[Literal["policy", "old", "reference"], typer.Option("--role", help="reference: before training.")]
NEEDED = ("torch", "diffusers", "peft")
RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.", file_okay=False)]


def need_packages(command: str) -> None:
    """Whether the extra of the trainer is installed.

    Raises:
        EnvironmentProblem: it is not; the message says how to install it.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise EnvironmentProblem(
            f"'{command}' trains a model and needs {', '.join(missing)}, not installed here. "
            "Install the trainer's packages: pip install 'avbench[train]'"
        )
