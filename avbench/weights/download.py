"""Download checkpoints: pinned, resumed where they stopped, checked before they appear under their name."""

from __future__ import annotations

import http.client
import logging
import os
import shutil
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from filelock import Timeout

from avbench.errors import EnvironmentProblem
from avbench.files import locked, rename
from avbench.weights.checkpoints import CHECKPOINTS, with_required
from avbench.weights.checksums import file_sha256, record, recorded
from avbench.weights.config import WeightsConfig
from avbench.weights.locate import Location, absent_files, destination, is_accepted, size_text, weights_root
from avbench.weights.schema import Checkpoint, CheckpointFile

Progress = Callable[[str, int, int], None]
"""Called while a file arrives: its name, bytes so far, bytes in all (0 when not known)."""

_CHUNK = 1 << 20
_TIMEOUT_S = 60
_NETWORK = (urllib.error.URLError, ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)
# Left free for everything else on the disk.
_SPARE = 1 << 30


def pull(names: Sequence[str], setup: WeightsConfig, progress: Progress) -> list[Path]:
    """Download what these checkpoints, and the checkpoints that they require, lack; the files that were downloaded.

    Files of the hub go to the hub's cache, or below the weights folder where the setup names one; others go below the
    weights folder. The checksum of a file without a published one is recorded in that folder.

    Raises:
        EnvironmentProblem: no network, offline mode, licence not accepted, disk full, or wrong checksum.
    """
    todo = [CHECKPOINTS[name] for name in with_required(names) if absent_files(name, setup)]
    if not todo:
        return []
    for checkpoint in todo:
        if not is_accepted(checkpoint, setup):
            raise EnvironmentProblem(
                f"licence not accepted: {checkpoint.name} is {checkpoint.licence}, see {checkpoint.page}; read it and "
                f"run: avbench models accept {checkpoint.name}"
            )
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        missing = ", ".join(checkpoint.name for checkpoint in todo)
        raise EnvironmentProblem(f"HF_HUB_OFFLINE is set, so nothing is downloaded; missing: {missing}")
    if any(checkpoint.hubs for checkpoint in todo) and find_spec("huggingface_hub") is None:
        raise EnvironmentProblem("huggingface_hub is not installed; pip install 'avbench[models]'")
    root = setup.weights_dir or weights_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / ".avbench-pull.lock", "--weights-dir or AVBENCH_WEIGHTS"):
            return [path for checkpoint in todo for path in _pull_checkpoint(checkpoint, setup, progress)]
    except Timeout as error:
        raise EnvironmentProblem(f"another 'avbench models pull' is writing to {root}; wait for it") from error
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write to {root}: {error.strerror or error}. Choose another weights folder (--weights-dir or "
            "AVBENCH_WEIGHTS)."
        ) from error


def _pull_checkpoint(checkpoint: Checkpoint, setup: WeightsConfig, progress: Progress) -> list[Path]:
    goal = destination(checkpoint.name, setup)
    wanted = [file for file in checkpoint.files if file.name not in goal.paths]
    _check_disk(checkpoint, wanted, goal)
    done = []
    for file in wanted:
        if file.url and goal.folder is not None:
            path = download(file, goal.folder / file.name, progress)
        else:
            path = _from_hub(checkpoint, file, goal.folder)
        _check(checkpoint, file, path, goal.root)
        done.append(path)
    return done


def _check_disk(checkpoint: Checkpoint, wanted: Sequence[CheckpointFile], goal: Location) -> None:
    where = goal.folder or _hub_cache()
    parts = [_part(where / file.name) for file in wanted]
    size = sum(file.size for file in wanted) - sum(part.stat().st_size for part in parts if part.exists())
    existing = next(folder for folder in (where, *where.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < size + _SPARE:
        raise EnvironmentProblem(
            f"not enough disk space for {checkpoint.name}: it takes {size_text(size)} and 1 GiB should stay free, but "
            f"{where} has {size_text(free)}. Choose another weights folder (--weights-dir, AVBENCH_WEIGHTS or HF_HOME)."
        )


def _check(checkpoint: Checkpoint, file: CheckpointFile, path: Path, root: Path) -> None:
    """Compare with the checksum that is known; record it where none is."""
    actual = file_sha256(path)
    expected = file.sha256 or recorded(root, checkpoint.name).get(file.name)
    if expected is None:
        record(root, checkpoint.name, {file.name: actual})
    elif not actual.startswith(expected):
        path.resolve().unlink()  # in the hub's cache the path is a link
        path.unlink(missing_ok=True)
        raise EnvironmentProblem(_wrong(f"{file.name} of {checkpoint.name}", actual, expected))


def download(file: CheckpointFile, target: Path, progress: Progress) -> Path:
    """Fetch `file.url`; go on where an earlier attempt stopped. The target appears only when the bytes are right.

    Raises:
        EnvironmentProblem: no network, the address fails, or the checksum is wrong.
        OSError: the file cannot be written.
    """
    part = _part(target)
    part.parent.mkdir(parents=True, exist_ok=True)
    complete = False
    while not complete:
        before, reason = _length(part), "the connection broke off"
        try:
            complete = _fetch(file, part, progress)
        except urllib.error.HTTPError as error:
            raise EnvironmentProblem(f"{file.url} answers {error.code} {error.reason}; put it at {target}") from error
        except _NETWORK as error:
            reason = str(getattr(error, "reason", error))
        if not complete and _length(part) <= before:  # as long as bytes arrive, it is worth going on
            raise EnvironmentProblem(
                f"cannot reach {file.url} ({reason}). The same command goes on where it stopped; or put the file at "
                f"{target} by hand."
            )
    actual = file_sha256(part)
    if file.sha256 and not actual.startswith(file.sha256):
        part.unlink()
        raise EnvironmentProblem(_wrong(file.url, actual, file.sha256))
    rename(part, target)
    return target


def _fetch(file: CheckpointFile, part: Path, progress: Progress) -> bool:
    """Append to `part` what it lacks; whether it is complete now."""
    have = _length(part)
    if file.size and have >= file.size:
        return True
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    # The address comes from the table of checkpoints, never from a user or a server.
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
        if have and answer.status != 206:  # the server cannot resume
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else file.size
        with part.open("ab" if have else "wb") as out:
            while chunk := answer.read(_CHUNK):
                out.write(chunk)
                have += len(chunk)
                progress(file.name, have, total)
    return not total or have >= total


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _wrong(what: str, actual: str, expected: str) -> str:
    return (
        f"{what} arrived with sha256 {actual}, expected {expected}; it was deleted. Try again; if that repeats, the "
        "source has changed and must not be used."
    )


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _from_hub(checkpoint: Checkpoint, file: CheckpointFile, folder: Path | None) -> Path:
    """Fetch one file of the pinned revision through the hub's own client, which resumes and checks."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # our message says it in one line
    if not sys.stderr.isatty():
        disable_progress_bars()
    by_hand = (
        "The same command goes on where it stopped; or put the file into "
        f"{checkpoint.name}/ of a weights folder of yours (--weights-dir)."
    )
    if reason := unreachable(constants.ENDPOINT):
        raise EnvironmentProblem(f"cannot reach {constants.ENDPOINT} ({reason}). {by_hand}")
    try:
        return Path(
            hf_hub_download(
                checkpoint.hubs[0],
                file.hub_path,
                repo_type=checkpoint.hub_type,
                revision=checkpoint.revision,
                local_dir=folder,
            )
        )
    except (OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EnvironmentProblem(
            f"cannot get {file.hub_path} of {checkpoint.hubs[0]} at {checkpoint.revision} ({first[:200]}). {by_hand}"
        ) from error


def unreachable(address: str) -> str | None:
    """Why a server does not answer at all. The hub's client would try for half a minute before it says so."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=10):  # noqa: S310
            return None
    except urllib.error.HTTPError:
        return None
    except _NETWORK as error:
        return str(getattr(error, "reason", error))
