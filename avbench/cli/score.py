"""`avbench score`: clips in, run folder out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from avbench.cli.options import (
    AcceptOption,
    AllowHosts,
    AllowOutside,
    AllowRemote,
    DeviceOption,
    LayoutOption,
    LimitOption,
    PrecisionOption,
    PromptsOption,
    SourceArgument,
    TranscriberOption,
    WeightsDirOption,
    WeightsOption,
    cache_folder,
    digest_folder,
    make_setup,
    written_here,
)
from avbench.terminal.output import print_json, say

if TYPE_CHECKING:
    from avbench.run.cluster.settings import RaySettings
    from avbench.run.outcome import Outcome
    from avbench.run.protocol import Protocol
    from avbench.sources import Source


_NO_GROUPS = {
    "model": "note: --by model compares two models or more; name them in a column `model` of a manifest",
    "category": "note: --by category found no categories; add a column `categories` to the manifest or prompt list",
}


def command(
    source: SourceArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", callback=written_here, help="Run folder; an existing one is continued.")
    ] = Path("runs/latest"),
    suite: Annotated[str, typer.Option("--suite", "-s", help="Set of metrics, see 'avbench ls'.")] = "quick",
    metrics: Annotated[
        str | None, typer.Option("--metrics", "-m", help="Metric names with commas, instead of a suite.")
    ] = None,
    prompts: PromptsOption = None,
    layout: LayoutOption = "auto",
    allow_outside: AllowOutside = False,
    allow_remote: AllowRemote = False,
    allow_host: AllowHosts = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            "-w",
            min=1,
            help="Processes; with Ray actors at most.",
            show_default="1; with Ray all there is",
        ),
    ] = None,
    backend: Annotated[
        Literal["local", "ray"],
        typer.Option(help="What scores: processes here, or actors of the Ray cluster at $RAY_ADDRESS or started here."),
    ] = "local",
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="With Ray: GPUs of each actor, such as 0.25.", show_default="0")
    ] = None,
    resources: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="With Ray: what each actor takes of its node, such as CPU=4."),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    weights: WeightsOption = "checkpoints",
    weights_dir: WeightsDirOption = None,
    accept_licence: AcceptOption = None,
    transcriber: TranscriberOption = "whisper_large_v3_turbo",
    max_resident: Annotated[int, typer.Option(min=1, help="Networks kept loaded at a time, per process.")] = 2,
    reference: Annotated[
        Path | None, typer.Option(help="Features of real clips that fvd, kvd and fad compare with (.npz or .pt).")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="What is done to every clip first: javisbench-4s judges the first 4 s.")
    ] = None,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep embeddings for other runs.")] = True,
    cache_gb: Annotated[float, typer.Option(min=0, help="Size of that cache.")] = 10,
    spool_gb: Annotated[
        float, typer.Option(min=0, help="Decoded inputs that may wait on disk, in the run folder, for their networks.")
    ] = 8,
    max_failed: Annotated[
        float,
        typer.Option(min=0, help="Clips that may fail before the exit code is 3: a fraction below 1, or a count."),
    ] = 0,
    limit: LimitOption = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Score one of N equal parts of SOURCE, 1/N to N/N; 'avbench merge' joins them."
        ),
    ] = None,
    rehash: Annotated[
        bool, typer.Option(help="Read every clip for its digest, also where inode, size and times say it is the same.")
    ] = False,
    retry_errors: Annotated[bool, typer.Option(help="Score clips again that failed in an earlier run.")] = False,
    by: Annotated[str | None, typer.Option(help="Also summarise by: model, category.")] = None,
    html: Annotated[bool, typer.Option("--html/--no-html", help="Write report.html into the run folder.")] = True,
    upload: Annotated[str | None, typer.Option(help="Copy the finished run folder there: s3://bucket/runs/x.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no tables.")] = False,
) -> None:
    """Score clips and write a run folder.

    SOURCE is a folder of videos, one video, or a manifest (CSV, JSONL, Parquet).
    """
    from avbench.api import choose_suite, needs_torch, resolve_devices
    from avbench.cli.progress import BarProgress
    from avbench.doctor.environment import describe_command
    from avbench.errors import TooManyFailedError, UsageError
    from avbench.media.limits import parse_limits
    from avbench.remote.addresses import shown
    from avbench.remote.run_folders import require_store, upload_run
    from avbench.run.digests import DigestStore
    from avbench.run.options import RunOptions
    from avbench.run.outcome import check_failures
    from avbench.run.runner import run_source
    from avbench.shards import parse_shard
    from avbench.sources import load_source

    if by not in (None, "model", "category"):
        raise UsageError(f"--by takes 'model' or 'category', got {by!r}")
    if upload is not None:
        require_store(upload)
    wanted = parse_shard(shard) if shard is not None else None
    chosen = choose_suite(suite, [name.strip() for name in metrics.split(",") if name.strip()] if metrics else None)
    clips = load_source(
        source,
        prompts=prompts,
        layout=layout,
        allow_outside=allow_outside,
        allow_remote=allow_remote,
        allow_hosts=allow_host or (),
    )
    clips = clips.take(wanted) if wanted else clips
    ray = _ray_settings(backend, workers, device, gpus_per_worker, resources)
    options = RunOptions(
        workers=workers or 1,
        devices=("cpu",) if ray else resolve_devices(device, chosen),
        max_resident=max_resident,
        setup=make_setup(weights, weights_dir, precision, accept_licence, transcriber),
        protocol=_find_protocol(protocol),
        reference=reference,
        cache=cache_folder() if cache and needs_torch(chosen) else None,
        cache_bytes=int(cache_gb * 2**30),
        spool_bytes=int(spool_gb * 2**30),
        limits=parse_limits(limit or ()),
        digests=DigestStore(digest_folder(), trusted=not rehash),
        retry_errors=retry_errors,
        command=describe_command(sys.argv[1:]),
        ray=ray,
    )
    with BarProgress(quiet or as_json) as progress:
        outcome = run_source(clips, chosen, out, options, progress)
    for note in outcome.notes:
        say(f"note: {note}", err=True)
    if html:
        _write_html(outcome, clips)
    if upload is not None:
        count = upload_run(outcome.path, upload)
        say(f"uploaded: {count} files to {shown(upload)}", err=True)
    if as_json:
        print_json(outcome_as_json(outcome))
    elif not quiet:
        show_outcome(outcome, by, html)
    _exit_if_stopped(outcome)
    problem = check_failures(outcome, max_failed)
    if problem:
        raise TooManyFailedError(f"{problem}; reasons are in {outcome.path / 'scores.jsonl'} and in the report")


def _ray_settings(
    backend: str, workers: int | None, device: str, gpus: float | None, resources: list[str] | None
) -> RaySettings | None:
    from avbench.errors import UsageError
    from avbench.run.cluster.settings import RaySettings, parse_resources

    if backend == "local":
        if gpus is not None or resources:
            raise UsageError("--gpus-per-worker and --resources go with --backend ray")
        return None
    if device != "auto":
        raise UsageError("--device: with --backend ray, --gpus-per-worker says where networks run")
    return RaySettings(workers, gpus or 0.0, parse_resources(resources or ()))


def _find_protocol(name: str | None) -> Protocol:
    from avbench.errors import UsageError
    from avbench.run.protocol import PROTOCOLS, Protocol

    if name is None:
        return Protocol()
    if name not in PROTOCOLS:
        raise UsageError(f"unknown protocol {name!r}. Known: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]


def _write_html(outcome: Outcome, source: Source) -> None:
    from avbench.report.html import write_report
    from avbench.results import load_run

    page = outcome.path / "report.html"
    if outcome.computed or outcome.notes or not page.exists():
        write_report(load_run(outcome.path, slim=True), folders=_media_folders(source))


def _media_folders(source: Source) -> list[Path]:
    """Folders of this machine that hold the clips of a source."""
    listed = {path.resolve().parent for clip in source.clips for path in clip.local_files}
    root = [] if source.address else [source.root]
    return root + sorted(folder for folder in listed if not folder.is_relative_to(source.root))


def outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    """What `--json` prints of a run."""
    return {
        "run": str(outcome.path),
        "n_clips": outcome.n_clips,
        "computed": outcome.computed,
        "reused": outcome.reused,
        "unavailable": outcome.unavailable,
        "not_asked": outcome.not_asked,
        "failed_clips": list(outcome.failed),
        "stopped": outcome.stopped,
        **outcome.summary,
    }


def show_outcome(outcome: Outcome, by: str | None, html: bool) -> None:
    """Print the tables of a run, and where it lies."""
    from avbench.pages.terminal import print_table
    from avbench.report.tables import summary_table, watermark
    from avbench.results.info import read_info

    info = read_info(outcome.path)
    metadata, mark = info["metrics"], watermark(info)
    title = f"{outcome.n_clips} clips" + (f" – {mark}" if mark else "")
    print_table(summary_table(outcome.summary["overall"], metadata, title))
    groups = {"model": ("models", ("model",)), "category": ("categories", ("aspect", "category"))}
    if by:
        key, columns = groups[by]
        for label in dict.fromkeys(tuple(str(e[c]) for c in columns) for e in outcome.summary[key]):
            entries = [e for e in outcome.summary[key] if tuple(str(e[c]) for c in columns) == label]
            print_table(summary_table(entries, metadata, " / ".join(label)))
        if not outcome.summary[key]:
            say(_NO_GROUPS[by])
    rows = f"rows: {outcome.computed} computed, {outcome.reused} reused, {outcome.unavailable} not possible here"
    rows += " ('avbench doctor' says why)" if outcome.unavailable else ""
    rows += f", {outcome.not_asked} not asked for by the suite" if outcome.not_asked else ""
    lines = [rows, f"run:  {outcome.path}"]
    if html:
        lines.append(f"page: {outcome.path / 'report.html'}")
    for line in lines:
        say(line)


def _exit_if_stopped(outcome: Outcome) -> None:
    from avbench.errors import EnvironmentProblem

    if outcome.stopped:
        what = "; ".join(f"{name} {reason}" for name, reason in outcome.stopped.items())
        raise EnvironmentProblem(f"metrics could not go on: {what}")
