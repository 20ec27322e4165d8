"""Locate checkpoints: whether each is here and may be used, the paths of its files, and their digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from avbench.errors import EnvironmentProblem
from avbench.files import expand_home, home_folder
from avbench.weights.checkpoints import CHECKPOINTS, with_required
from avbench.weights.checksums import cache_folder, file_sha256, read_json, recorded, update_json
from avbench.weights.config import WeightsConfig
from avbench.weights.schema import Checkpoint


@dataclass(frozen=True)
class Location:
    """Where the files of a checkpoint are.

    Attributes:
        paths: path by file name; only files that exist.
        root: weights folder whose records hold for them.
        folder: folder that they lie in; None for the hub's cache.
    """

    paths: dict[str, Path]
    root: Path
    folder: Path | None


def checkpoint_licence(name: str) -> str:
    """Licence of a checkpoint."""
    return CHECKPOINTS[name].licence


def weights_root() -> Path:
    """Weights folder where none is given: $AVBENCH_WEIGHTS, else a folder in the user's cache."""
    given = os.environ.get("AVBENCH_WEIGHTS")
    return expand_home(given) if given else cache_folder() / "weights"


def location(name: str, setup: WeightsConfig) -> Location:
    """Where the files of a checkpoint are; all in one location, so that a tokenizer's files lie in one folder.

    Looked at in this order: the weights folder of the setup, the hub's cache, `weights_root()`. The first location with
    all files wins, else the one with most.
    """
    return _fullest(_locations(CHECKPOINTS[name], setup))


def destination(name: str, setup: WeightsConfig) -> Location:
    """Where files of a checkpoint are downloaded to: beside those that are there already.

    That is the weights folder of the setup; without one the hub's cache, and `weights_root()` for files that are not
    on the hub.
    """
    checkpoint = CHECKPOINTS[name]
    cached = bool(checkpoint.hubs) and setup.weights_dir is None
    root = setup.weights_dir or weights_root()
    options = [o for o in _locations(checkpoint, setup) if (o.folder is None) == cached and o.root == root]
    return options[0] if cached else _fullest(options)


def _fullest(options: Iterable[Location]) -> Location:
    return max(options, key=lambda option: len(option.paths))  # the first of equals


def _locations(checkpoint: Checkpoint, setup: WeightsConfig) -> Iterator[Location]:
    default = weights_root()
    if setup.weights_dir is not None:
        for folder in (setup.weights_dir / name for name in (checkpoint.name, *checkpoint.folders)):
            yield Location(_in_folder(checkpoint, folder), setup.weights_dir, folder)
    for hub in checkpoint.hubs:
        yield Location(_in_hub_cache(checkpoint, hub), default, None)
    for folder in (default / name for name in (checkpoint.name, *checkpoint.folders)):
        yield Location(_in_folder(checkpoint, folder), default, folder)


def _in_folder(checkpoint: Checkpoint, folder: Path) -> dict[str, Path]:
    # os.path, and the folder first: this runs for every embedding that is looked up.
    base = str(folder)
    if not os.path.isdir(base):  # noqa: PTH112
        return {}
    paths = {}
    for file in checkpoint.files:
        for name in dict.fromkeys((file.name, file.hub_path)):
            if os.path.isfile(path := f"{base}/{name}"):  # noqa: PTH113
                paths[file.name] = Path(path)
                break
    return paths


def _in_hub_cache(checkpoint: Checkpoint, hub: str) -> dict[str, Path]:
    if find_spec("huggingface_hub") is None:
        return {}
    from huggingface_hub import try_to_load_from_cache

    paths = {}
    for file in checkpoint.files:
        path = try_to_load_from_cache(hub, file.hub_path, revision=checkpoint.revision, repo_type=checkpoint.hub_type)
        if isinstance(path, str) and Path(path).is_file():
            paths[file.name] = Path(path)
    return paths


def unusable(name: str, setup: WeightsConfig) -> str | None:
    """Why a checkpoint cannot be used, with the cure; None when it can, and in test modes."""
    if setup.is_test:
        return None
    for part in with_required([name]):
        checkpoint = CHECKPOINTS[part]
        if absent := absent_files(part, setup):
            what = "" if len(absent) == len(checkpoint.files) else f", lacks {', '.join(absent[:3])}"
            size = size_text(checkpoint.size)
            return f"weights missing: {part} ({size}{what}); get them with: avbench models pull {name}"
        if not is_accepted(checkpoint, setup):
            return (
                f"licence not accepted: {part} is {checkpoint.licence}; read it and run: avbench models accept {part}"
            )
    return None


def absent_files(name: str, setup: WeightsConfig) -> list[str]:
    """Names of the files of a checkpoint that are not here."""
    present = location(name, setup).paths
    return [file.name for file in CHECKPOINTS[name].files if file.name not in present]


def files(name: str, setup: WeightsConfig) -> dict[str, Path]:
    """Paths of a checkpoint's files by name, for loading; the bytes are those that were published or recorded.

    Raises:
        EnvironmentProblem: a file is missing or has another checksum, or the licence is not accepted.
    """
    if absent := absent_files(name, setup):
        raise EnvironmentProblem(
            f"weights missing: {name} lacks {', '.join(absent)}; get them with: avbench models pull {name}"
        )
    if not is_accepted(CHECKPOINTS[name], setup):
        raise EnvironmentProblem(str(unusable(name, setup)))
    if problem := next(mismatches(name, setup), None):
        raise EnvironmentProblem(problem)
    return location(name, setup).paths


def mismatches(name: str, setup: WeightsConfig) -> Iterator[str]:
    """A sentence for each file of a checkpoint whose bytes are not the published or recorded ones."""
    held = location(name, setup)
    first = recorded(held.root, name)
    for file in CHECKPOINTS[name].files:
        expected = file.sha256 or first.get(file.name)
        if expected is None or file.name not in held.paths:
            continue
        path = held.paths[file.name]
        actual = file_sha256(path)
        if not actual.startswith(expected):
            source = "published" if file.sha256 else "recorded at the first download"
            yield (
                f"{path} has sha256 {actual}, {source} is {expected}: damaged or another version. "
                f"Delete the file and run: avbench models pull {name}"
            )


def unchecked(name: str, setup: WeightsConfig) -> list[str]:
    """Names of present files whose bytes can be compared with nothing."""
    held = location(name, setup)
    first = recorded(held.root, name)
    return [f.name for f in CHECKPOINTS[name].files if f.name in held.paths and not (f.sha256 or f.name in first)]


def checkpoint_digest(name: str, setup: WeightsConfig) -> str:
    """Identity of the weights in use: over the bytes of all files of the checkpoint and of those that it requires.

    Raises:
        EnvironmentProblem: a file is missing.
    """
    if setup.is_test:
        return f"{setup.weights}:{name}"
    lines = []
    for part in with_required([name]):
        present = location(part, setup).paths
        for file in CHECKPOINTS[part].files:
            if file.name not in present:
                raise EnvironmentProblem(str(unusable(name, setup)))
            lines.append(f"{part}/{file.name}:{file_sha256(present[file.name])}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def is_accepted(checkpoint: Checkpoint, setup: WeightsConfig) -> bool:
    """Whether a checkpoint's licence needs no acceptance, or was accepted for this run or earlier by this user."""
    if not checkpoint.must_accept or {checkpoint.name, checkpoint.licence} & setup.accepted:
        return True
    entry = read_json(_accepted_file()).get(checkpoint.name)
    # A licence that changed since is a new question.
    return isinstance(entry, dict) and entry.get("licence") == checkpoint.licence


def accept(name: str) -> Path:
    """Remember that this user accepted the licence of a checkpoint.

    Raises:
        EnvironmentProblem: it cannot be written down.
    """
    path = _accepted_file()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        update_json(path, {name: {"licence": CHECKPOINTS[name].licence, "when": now}})
    except EnvironmentProblem as error:
        raise EnvironmentProblem(f"{error}. Accept the licence in each run (--accept-licence).") from error
    return path


def _accepted_file() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or home_folder() / ".config") / "avbench" / "accepted.json"


def size_text(size: int) -> str:
    """Bytes for people."""
    if size == 0:
        return "size not known"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
