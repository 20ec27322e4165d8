"""Run folders in object storage: copied here to be read, and copied there when they are whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from avbench.clips import RemoteFile
from avbench.errors import AvbenchError, EnvironmentProblem, MediaError, UsageError
from avbench.files import make_folder, temporary_folder
from avbench.remote.addresses import WEB, is_address, scheme_of, shown
from avbench.remote.fetch import ending, fetch
from avbench.remote.stores import file_system, unreachable
from avbench.threads import map_in_threads

_READ = (".json", ".jsonl", ".parquet")
_DIGESTS = "digests.jsonl"
_FEATURE = re.compile(r"features/(?!\.)[^/\\]+/(?!\.)[^/\\]+\.npy")
_MOST_BYTES = 8 * 2**30
_THREADS = 16


@contextmanager
def local_run(path: str) -> Iterator[Path]:
    """A run folder of this machine: `path` itself, or a copy of the remote one that lasts as long as the context.

    Of a finished run the tables are copied. Errors that name the copy name the address instead.

    Raises:
        UsageError: nothing is there, or a file is larger than is read.
        EnvironmentProblem: a package is missing, or the store refuses.
    """
    with _local(path, _tables) as folder:
        yield folder


@contextmanager
def local_shard(path: str) -> Iterator[Path]:
    """As `local_run`, with what a merged run takes of a shard: features and digests of remote clips."""
    with _local(path, _parts_of_shard) as folder:
        yield folder


@contextmanager
def _local(path: str, choose: Callable[[Any, str], list[str]]) -> Iterator[Path]:
    if not is_address(path):
        yield Path(path)
        return
    files = _store(path)
    files.invalidate_cache()  # a listing of an earlier call may be out of date
    with temporary_folder(None, prefix="avbench-run-") as folder:
        copy = partial(_copy, path, folder)
        for _ in map_in_threads(copy, choose(files, path), _THREADS):
            pass
        try:
            yield folder
        except AvbenchError as error:
            error.args = (str(error).replace(str(folder), shown(path)),)
            raise


def _copy(url: str, folder: Path, name: str) -> None:
    target = folder / name
    make_folder(target.parent)
    try:
        fetch(RemoteFile(f"{url.rstrip('/')}/{name}"), target, _MOST_BYTES)
    except MediaError as error:
        raise ending(f"{shown(url)}: {name}", error) from error


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


def _tables(files: Any, url: str) -> list[str]:
    names = _names(url, lambda: files.ls(url, detail=True))
    here = sorted({name.rpartition("/")[2] for name in names})
    chosen = [name for name in here if name.endswith(_READ) and not name.startswith(".")]
    if "summary.json" in chosen:  # a whole run: the record says what the tables say, in ten times the bytes
        chosen = [name for name in chosen if not name.endswith(".jsonl")]
    if not chosen:
        raise UsageError(f"{shown(url)} is not a run folder (no run.json). Give one that was uploaded.")
    return chosen


def _parts_of_shard(files: Any, url: str) -> list[str]:
    start = str(files._strip_protocol(url)).rstrip("/") + "/"
    names = [name.removeprefix(start) for name in _names(url, lambda: files.find(url, detail=True).values())]
    more = [name for name in names if name == _DIGESTS or _FEATURE.fullmatch(name)]
    return [*_tables(files, url), *more]


def _names(url: str, listed: Callable[[], Iterable[Mapping[str, Any]]]) -> list[str]:
    """Names of the files of a listing; none where nothing is there.

    Raises:
        EnvironmentProblem: the store refuses.
    """
    try:
        return [str(entry["name"]) for entry in listed() if entry.get("type") == "file"]
    except FileNotFoundError:
        return []
    except Exception as error:
        raise unreachable(url, error) from error


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
