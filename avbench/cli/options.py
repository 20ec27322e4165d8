"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from avbench.encoders import WeightsConfig

Layout = Literal["auto", "folder", "javisbench", "vbench"]


def written_here(path: Path | None) -> Path | None:
    """The path of a file or folder that is to be written.

    Raises:
        UsageError: an address was given, of which a path would be a folder of this machine.
    """
    from avbench.errors import UsageError
    from avbench.remote.addresses import was_address

    if path is not None and was_address(path):
        raise UsageError(
            "--out is an address, and what is written lies on this machine: name a path. "
            "'avbench score --upload' copies a finished run folder to object storage."
        )
    return path


SourceArgument = Annotated[
    str,
    typer.Argument(
        help="Folder of videos, one video, or a manifest (CSV, JSONL, Parquet), also as s3://, gs://, az://, hf://; "
        "https:// for a manifest or a video; tar shards of WebDataset."
    ),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option("--prompts", "-p", help="Prompt file for a folder: CSV, JSONL, Parquet or one per line."),
]
LayoutOption = Annotated[Layout, typer.Option(help="How a folder names its clips; 'auto' looks.")]
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="Fetch what a manifest names by address.")]
AllowHosts = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="HOST[:PORT]", help="Web server on a private range that may be contacted."),
]
AllowOutside = Annotated[bool, typer.Option(help="Let a manifest name files outside its own folder.")]
DeviceOption = Annotated[
    str, typer.Option(help="Where networks run: auto, cpu, cuda, cuda:N, cuda:all or a list with commas.")
]
PrecisionOption = Annotated[Literal["fp32", "bf16", "fp16"], typer.Option(help="Number format of networks.")]
TranscriberOption = Annotated[
    Literal["whisper_tiny_en", "whisper_base", "whisper_large_v3_turbo", "whisper_large_v3"],
    typer.Option(
        help="Checkpoint that writes down what is spoken; its numbers compare with those of the same one only."
    ),
]
WeightsOption = Annotated[
    Literal["checkpoints", "keyed-random", "keyed-random-reduced"],
    typer.Option(help="The keyed-random ones are for tests: the numbers mean nothing, and the report says so."),
]
WeightsDirOption = Annotated[
    Path | None, typer.Option(help="Folder that holds checkpoints already; see 'avbench models where'.")
]
AcceptOption = Annotated[
    list[str] | None, typer.Option("--accept-licence", help="Checkpoint whose licence you accept for this run.")
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        help="Bound on what one clip may cost; may be repeated, 'none' lifts it. Names: pixels (of a frame), frames, "
        "seconds, samples (times channels), sample_rate, upsampling (from a low rate), channels, tracks, packet_ratio "
        "(bytes of packets per byte of the file), seconds_per_clip (of decoding), fetched_bytes (of a remote file). "
        "Defaults are in docs/media.md.",
    ),
]


def make_setup(
    weights: Literal["checkpoints", "keyed-random", "keyed-random-reduced"],
    weights_dir: Path | None,
    precision: Literal["fp32", "bf16", "fp16"],
    accepted: list[str] | None,
    transcriber: Literal[
        "whisper_tiny_en", "whisper_base", "whisper_large_v3_turbo", "whisper_large_v3"
    ] = "whisper_large_v3_turbo",
) -> WeightsConfig:
    """How networks are loaded, from the options of a command.

    Raises:
        UsageError: the folder of checkpoints does not exist.
    """
    from avbench.encoders import WeightsConfig
    from avbench.errors import UsageError

    if weights_dir is not None and not weights_dir.is_dir():
        raise UsageError(f"--weights-dir {weights_dir}: no such folder. Make it with 'avbench models pull'.")
    weights_dir = weights_dir and weights_dir.absolute()  # other machines have other current folders
    return WeightsConfig(weights, weights_dir, precision, frozenset(accepted or ()), transcriber)


def cache_folder() -> Path:
    """Where embeddings are kept between runs: $AVBENCH_CACHE, else ~/.cache/avbench/embeddings."""
    from avbench.files import home_folder

    named = os.environ.get("AVBENCH_CACHE")
    return Path(named) if named else home_folder() / ".cache" / "avbench" / "embeddings"


def digest_folder() -> Path:
    """Where digests of clips are remembered between runs: beside the embeddings."""
    return cache_folder().with_name("digests")
