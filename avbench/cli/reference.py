"""`avbench reference`: features of real clips, for fvd, kvd and fad."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from avbench.cli.options import (
    AcceptOption,
    AllowOutside,
    DeviceOption,
    LayoutOption,
    LimitOption,
    PromptsOption,
    SourceArgument,
    WeightsDirOption,
    WeightsOption,
    make_setup,
)
from avbench.terminal.output import say


def command(
    source: SourceArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write, .npz.")] = Path("reference.npz"),
    mode: Annotated[
        Literal["fixed", "compat"], typer.Option(help="For fvd, kvd, fad, or for fvd_compat, kvd_compat, fad_compat.")
    ] = "fixed",
    run: Annotated[Path, typer.Option(help="Run folder to work in; an existing one is continued.")] = Path(
        "runs/reference"
    ),
    prompts: PromptsOption = None,
    layout: LayoutOption = "auto",
    allow_outside: AllowOutside = False,
    device: DeviceOption = "auto",
    weights: WeightsOption = "checkpoints",
    weights_dir: WeightsDirOption = None,
    accept_licence: AcceptOption = None,
    limit: LimitOption = None,
) -> None:
    """Make a reference set from real clips.

    SOURCE is a folder of videos, one video, or a manifest. Clips without picture or sound are left out and counted.
    """
    from avbench.api import make_reference, resolve_devices
    from avbench.media.limits import parse_limits
    from avbench.run.options import RunOptions
    from avbench.sources import load_source
    from avbench.suites import Suite

    clips = load_source(source, prompts=prompts, layout=layout, allow_outside=allow_outside)
    options = RunOptions(
        devices=resolve_devices(device, Suite("reference", "", ("fvd", "fad"))),
        setup=make_setup(weights, weights_dir, "fp32", accept_licence),
        limits=parse_limits(limit or ()),
    )
    kept = make_reference(clips, out, run, mode=mode, options=options)
    say(f"{out}: features of {kept} of {len(clips.clips)} clips, mode {mode}")
