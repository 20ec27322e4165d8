"""What every node has to see of the clips: their files by the same paths, and the stores that hold remote ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from avbench.clips import Clip, RemoteFile
from avbench.remote.addresses import scheme_of, shown
from avbench.remote.fetch import look_at
from avbench.remote.stores import why
from avbench.run.content import open_file
from avbench.threads import map_in_threads

_THREADS = 16
_MOST_ASKED = 64
_PLACE_S = 20.0


@dataclass(frozen=True)
class NeededFiles:
    """Files that the driver sees, so that every node has to.

    Attributes:
        local: paths, with sizes in bytes.
        remote: one file of each bucket, data set or web server.
    """

    local: Sequence[tuple[str, int]] = ()
    remote: Sequence[RemoteFile] = ()


def needed_files(clips: Sequence[Clip]) -> NeededFiles:
    """What nodes need of these clips; files that are not seen here are the run's to report."""
    paths = list(dict.fromkeys(path.absolute() for clip in clips for path in clip.local_files))
    sizes = map_in_threads(_size, paths, _THREADS)
    local = [(str(path), size) for path, size in zip(paths, sizes, strict=True) if size is not None]
    files: dict[tuple[str, ...], RemoteFile] = {}
    for file in (file for clip in clips for file in (clip.remote_video, clip.remote_audio) if file is not None):
        files.setdefault(_location(file), file)
    asked = list(islice(files.values(), _MOST_ASKED))
    refusals = map_in_threads(_refusal, asked, _THREADS)
    return NeededFiles(local, [file for file, refusal in zip(asked, refusals, strict=True) if not refusal])


def unseen_files(needed: NeededFiles) -> list[str]:
    """Local files that this machine does not see, or sees with another size."""
    sizes = map_in_threads(lambda file: _size(Path(file[0])), needed.local, _THREADS)
    return [name for (name, size), here in zip(needed.local, sizes, strict=True) if here != size]


def refused_files(needed: NeededFiles) -> list[str]:
    """Addresses that this machine cannot read, with the reason."""
    return [refusal for refusal in map_in_threads(_refusal, needed.remote, _THREADS) if refusal]


def _size(path: Path) -> int | None:
    """Bytes of a file that can be opened; None for anything else."""
    try:
        with open_file(path) as file:
            return file.seek(0, 2)
    except OSError:
        return None


def _refusal(file: RemoteFile) -> str:
    try:
        look_at(file, _PLACE_S)
    except Exception as error:  # noqa: BLE001 - each file system has exceptions of its own
        return f"{shown(file.url)} ({why(error)})"
    return ""


def _location(file: RemoteFile) -> tuple[str, ...]:
    """Bucket or web server; on the hub the data set, as permission is given for each."""
    return tuple(file.url.strip().split("/")[: 5 if scheme_of(file.url) == "hf" else 3])
