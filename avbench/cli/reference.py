"""`avbench reference`: features of real clips, for fvd, kvd, fad and other set metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from avbench.cli.options import (
    AcceptOption,
    AllowHosts,
    AllowOutside,
    AllowRemote,
    DeviceOption,
    LayoutOption,
    LimitOption,
    PromptsOption,
    SourceArgument,
    WeightsDirOption,
    WeightsOption,
    make_setup,
    written_here,
)
from avbench.terminal.output import say


def command(
    source: SourceArgument,
    out: Annotated[Path, typer.Option("--out", "-o", callback=written_here, help="File to write, .npz.")] = Path(
        "reference.npz"
    ),
    mode: Annotated[
        Literal["fixed", "compat"] | None,
        typer.Option(help="fixed: for fvd, kvd, fad (the default). compat: for fvd_compat, kvd_compat, fad_compat."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", "-m", help="Set metrics with commas, to make the features of their encoders."),
    ] = None,
    run: Annotated[Path, typer.Option(help="Run folder to work in; an existing one is continued.")] = Path(
        "runs/reference"
    ),
    prompts: PromptsOption = None,
    layout: LayoutOption = "auto",
    allow_outside: AllowOutside = False,
    allow_remote: AllowRemote = False,
    allow_host: AllowHosts = None,
    device: DeviceOption = "auto",
    weights: WeightsOption = "checkpoints",
    weights_dir: WeightsDirOption = None,
    accept_licence: AcceptOption = None,
    limit: LimitOption = None,
) -> None:
    """Make a reference set from real clips.

    SOURCE is a folder of videos, one video, or a manifest. Clips that lack a track are left out and counted.
    """
    from avbench.api import resolve_devices
    from avbench.errors import UsageError
    from avbench.media.limits import parse_limits
    from avbench.run.make_reference import make_reference, reference_suite
    from avbench.run.options import RunOptions
    from avbench.sources import load_source

    if metrics and mode:
        raise UsageError("--mode chooses the features of fvd, kvd and fad; leave it out beside --metrics.")
    names = [name.strip() for name in (metrics or "").split(",") if name.strip()]
    suite = reference_suite(names, mode or "fixed")
    clips = load_source(
        source,
        prompts=prompts,
        layout=layout,
        allow_outside=allow_outside,
        allow_remote=allow_remote,
        allow_hosts=allow_host or (),
    )
    options = RunOptions(
        devices=resolve_devices(device, suite),
        setup=make_setup(weights, weights_dir, "fp32", accept_licence),
        limits=parse_limits(limit or ()),
    )
    kept = make_reference(clips, out, run, suite=suite, options=options)
    what = f"metrics {', '.join(suite.metrics)}" if names else f"mode {mode or 'fixed'}"
    say(f"{out}: features of {kept} of {len(clips.clips)} clips, {what}")
