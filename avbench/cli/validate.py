"""`avbench validate`: do the metrics notice damage?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avbench.cli.options import (
    AcceptOption,
    AllowOutside,
    DeviceOption,
    LayoutOption,
    LimitOption,
    PrecisionOption,
    PromptsOption,
    SourceArgument,
    TranscriberOption,
    WeightsDirOption,
    WeightsOption,
    make_setup,
    written_here,
)
from avbench.terminal.output import say

if TYPE_CHECKING:
    from avbench.suites import Suite
    from avbench.validity import Response, Study


def command(
    source: SourceArgument,
    out: Annotated[Path, typer.Option("--out", "-o", callback=written_here, help="Folder for tables and plot.")] = Path(
        "runs/validate"
    ),
    suite: Annotated[str, typer.Option("--suite", "-s", help="Set of metrics, see 'avbench ls'.")] = "quick",
    metrics: Annotated[
        str | None, typer.Option("--metrics", "-m", help="Metric names with commas, instead of a suite.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How much of each clip, from its start.")] = 4.0,
    size: Annotated[
        int, typer.Option(min=0, help="Frames are made smaller, to this many pixels on the long side; 0 keeps them.")
    ] = 256,
    prompts: PromptsOption = None,
    layout: LayoutOption = "auto",
    allow_outside: AllowOutside = False,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    weights: WeightsOption = "checkpoints",
    weights_dir: WeightsDirOption = None,
    accept_licence: AcceptOption = None,
    transcriber: TranscriberOption = "whisper_large_v3_turbo",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no tables.")] = False,
) -> None:
    """Make clips worse in known ways and see which metrics notice.

    SOURCE is a folder of videos, one video, or a manifest (CSV, JSONL, Parquet).
    """
    from avbench.api import choose_suite
    from avbench.cli.progress import BarProgress
    from avbench.errors import UsageError
    from avbench.media.limits import parse_limits
    from avbench.metrics.base import get_scorers
    from avbench.sources import load_source
    from avbench.validity import Settings, respond, run_study, write_study

    chosen = choose_suite(suite, [name.strip() for name in metrics.split(",") if name.strip()] if metrics else None)
    clips = load_source(source, prompts=prompts, layout=layout, allow_outside=allow_outside)
    if clips.address:
        raise UsageError(f"{clips.address}: validate reads each clip many times. Copy the clips to this machine first.")
    setup = make_setup(weights, weights_dir, precision, accept_licence, transcriber)
    limits = parse_limits(limit or ())
    settings = Settings(seconds, size, device=_one_device(device, chosen), setup=setup, limits=limits)
    with BarProgress(quiet) as progress:
        study = run_study(clips, chosen, get_scorers(chosen.metrics), settings, progress)
    responses = respond(study.rows, study.scorers)
    files = write_study(study, responses, out)
    if not quiet:
        _show(study, responses, files)
    _exit_if_incomplete(study)


def _one_device(text: str, suite: Suite) -> str:
    from avbench.api import resolve_devices
    from avbench.errors import UsageError

    devices = resolve_devices(text, suite)
    if len(devices) > 1:
        raise UsageError(f"--device {text}: validate runs on one device, for example {devices[0]}")
    return devices[0]


def _show(study: Study, responses: Sequence[Response], files: Sequence[Path]) -> None:
    from avbench.pages.terminal import print_table
    from avbench.validity.render import overview_table

    print_table(overview_table(study, responses))
    for name, reason in (study.passed_over | study.stopped).items():
        say(f"{name}: {reason}")
    for path in files:
        say(str(path))


def _exit_if_incomplete(study: Study) -> None:
    from avbench.errors import EnvironmentProblem, TooManyFailedError

    if study.stopped:
        what = "; ".join(f"{name} {reason}" for name, reason in study.stopped.items())
        raise EnvironmentProblem(f"metrics could not go on: {what}")
    failed = {row.clip_id for row in study.rows if row.status == "error"}
    if failed:
        raise TooManyFailedError(f"{len(failed)} of {len(study.shas)} clips failed; reasons are in validity.csv")
