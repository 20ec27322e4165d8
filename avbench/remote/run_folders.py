"""Run folders in object storage: copied here to be read, and copied there when they are whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from avbench.clips import RemoteFile
from avbench.errors import EnvironmentProblem, MediaError, UsageError
from avbench.files import temporary_folder
from avbench.remote.addresses import WEB, is_address, scheme_of, shown
from avbench.remote.fetch import fetch
from avbench.remote.stores import file_system, unreachable

_READ = (".json", ".jsonl", ".parquet")
_MOST_BYTES = 8 * 2**30


@contextmanager
def local_run(path: str) -> Iterator[Path]:
    """A run folder of this machine: `path` itself, or a copy of the remote one that lasts as long as the context.

    Raises:
        UsageError: nothing is there, or a file is larger than is read.
        EnvironmentProblem: a package is missing, or the store refuses.
    """
    if not is_address(path):
        yield Path(path)
        return
    files = _store(path)
    files.invalidate_cache()  # a listing of an earlier call may be out of date
    with temporary_folder(None, prefix="avbench-run-") as folder:
        for name in _names(files, path):
            try:
                fetch(RemoteFile(f"{path.rstrip('/')}/{name}"), folder / name, _MOST_BYTES)
            except MediaError as error:
                raise UsageError(f"{shown(path)}: {name} {error}.") from error
        yield folder


def upload_run(folder: Path, url: str) -> int:
    """Copy the files of a finished run folder to object storage, run.json last; returns their number.

    Raises:
        EnvironmentProblem: a package is missing, or the store refuses. The local folder stays as it is.
    """
    files = _store(url)
    whole = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path, folder)]
    whole.sort(key=lambda path: path == folder / "run.json")  # a reader takes a folder with it for a run
    for path in whole:
        try:
            files.put_file(str(path), f"{url.rstrip('/')}/{path.relative_to(folder).as_posix()}")
        except Exception as error:
            problem = unreachable(url, error)
            raise EnvironmentProblem(
                f"{path.name} was not uploaded; the run is complete in {folder}. {problem}"
            ) from error
    return len(whole)


def require_store(url: str) -> None:
    """Refuse what nothing can be uploaded to, before a run begins.

    Raises:
        UsageError: it is no address of object storage.
        EnvironmentProblem: a package is missing.
    """
    if not is_address(url):
        raise UsageError(f"{url!r} is no address of object storage, such as s3://bucket/runs/x.")
    _store(url)


def _store(url: str) -> Any:
    if scheme_of(url) in WEB:
        raise UsageError(f"{shown(url)}: run folders lie on this machine or in object storage, not on a web server.")
    return file_system(url)


def _names(files: Any, url: str) -> list[str]:
    try:
        entries = files.ls(url, detail=True)
    except FileNotFoundError:
        entries = []
    except Exception as error:
        raise unreachable(url, error) from error
    paths = [str(entry["name"]).rpartition("/")[2] for entry in entries if entry.get("type") == "file"]
    names = sorted(name for name in paths if name.endswith(_READ) and not name.startswith("."))
    if "summary.json" in names:  # a whole run: the record says what the tables say, in ten times the bytes
        names = [name for name in names if not name.endswith(".jsonl")]
    if not names:
        raise UsageError(f"{shown(url)} is not a run folder (no run.json). Give one that was uploaded.")
    return names


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
