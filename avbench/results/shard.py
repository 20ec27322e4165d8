"""shard.json: which clips of a source a run folder holds, and by which networks its features were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from avbench.errors import UsageError
from avbench.files import read_regular, write_atomically
from avbench.results.damage import DamagedRunError, open_entry, why
from avbench.shards import Part, Shard

SHARD_FILE = "shard.json"
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Network:
    """What made the features of a set metric: digest of its weights, and the folder of its features."""

    weights_digest: str
    feature_space: str


@dataclass(frozen=True)
class ShardRecord:
    """Content of shard.json.

    Attributes:
        part: the clips of this shard.
        networks: of the set metrics that could run.
        missing: set metrics that could not, with the reason.
    """

    part: Part
    networks: Mapping[str, Network]
    missing: Mapping[str, str]


def write_shard(folder: Path, record: ShardRecord) -> None:
    """Write shard.json into a run folder, unless it says the same already."""
    data = (json.dumps(asdict(record), sort_keys=True, separators=(",", ":")) + "\n").encode()
    try:
        if read_regular(folder / SHARD_FILE, most=_MOST_BYTES) == data:
            return
    except OSError:
        pass
    write_atomically(folder / SHARD_FILE, data)


def read_shard(folder: Path) -> ShardRecord:
    """The content of shard.json.

    Raises:
        UsageError: the folder is no shard.
        DamagedRunError: the file is no such object.
    """
    if not (folder / SHARD_FILE).is_symlink() and not (folder / SHARD_FILE).exists():
        raise UsageError(f"{folder} is no shard: only runs of 'avbench score --shard' are merged.")
    try:
        with open_entry(folder, SHARD_FILE, most=_MOST_BYTES) as file:
            return _build(json.loads(file.read(_MOST_BYTES)))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise DamagedRunError(folder, SHARD_FILE, why(error)) from error


def shard_of(folder: Path) -> Shard | None:
    """Which shard a run folder holds; None where it holds none, or does not say."""
    try:
        return read_shard(folder).part.shard
    except UsageError:
        return None


def _build(content: Any) -> ShardRecord:
    part, shard = content["part"], content["part"]["shard"]
    numbers = [shard["index"], shard["count"], part["n_clips"], *part["positions"]]
    if any(type(number) is not int for number in numbers):
        raise ValueError("positions are not integers")
    positions = tuple(part["positions"])
    if not 1 <= shard["index"] <= shard["count"] or any(not 0 <= at < part["n_clips"] for at in positions):
        raise ValueError("numbers are out of range")
    if any(a >= b for a, b in pairwise(positions)):
        raise ValueError("positions do not rise")
    networks = {
        str(name): Network(_name(network["weights_digest"]), _name(network["feature_space"]))
        for name, network in content["networks"].items()
    }
    missing = {str(name): str(reason) for name, reason in content["missing"].items()}
    where = Shard(shard["index"], shard["count"])
    digests = str(part["source_sha256"]), str(part["sha256"])
    return ShardRecord(Part(where, positions, part["n_clips"], *digests), networks, missing)


def _name(text: Any) -> str:
    """A text that names a folder, and nothing outside of it."""
    if not isinstance(text, str) or not text or set(text) & set("/\\:\0") or text.startswith("."):
        raise ValueError(f"{text!r:.60} is no name")
    return text
