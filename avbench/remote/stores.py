"""Object storage through fsspec: its file systems, credentials and settings are used as they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from avbench.clips import RemoteFile
from avbench.errors import EnvironmentProblem
from avbench.remote.addresses import STORES, scheme_of, shown, without_secrets
from avbench.remote.base import CHUNK, REPLACED, Opened

# Of what a listing says, the first that is there tells one state from another. Times come last: they are coarse.
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "generation", "blob_id", "oid", "sha256")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
_FIRST = 2**20
_SLOW = 2**18
_QUICK_S = 1.0


def file_system(url: str) -> Any:
    """The file system that reads an address.

    Raises:
        EnvironmentProblem: a package is missing, or it cannot be set up.
    """
    scheme = scheme_of(url)
    try:
        import fsspec

        return fsspec.filesystem(scheme)
    except ImportError as error:
        package = STORES.get(scheme, "fsspec")
        raise EnvironmentProblem(
            f"{scheme}:// is read with the package {package}, which is not installed: pip install 'avbench[remote]'"
        ) from error
    except Exception as error:
        raise unreachable(url, error) from error


def unreachable(url: str, error: BaseException) -> EnvironmentProblem:
    """The error of a store that does not answer as asked."""
    return EnvironmentProblem(f"{shown(url)} cannot be read: {why(error)}. Check the address and your credentials.")


def why(error: BaseException) -> str:
    """One line about what a library raised, without signatures."""
    text = " ".join(without_secrets(str(error)).split())[:300].rstrip(". ")
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return text or "no answer in time"
    return text if text and isinstance(error, OSError) else f"{type(error).__name__}: {text}".rstrip(": ")


def identity_of(entry: Mapping[str, Any]) -> str:
    """What tells one state of an object from another, from its entry of a listing; empty if nothing does."""
    for name in (*_TAGS, *_TIMES):
        if value := entry.get(name):
            # Some stores list a time as a number and state it as a date elsewhere.
            value = value.timestamp() if isinstance(value, datetime) else value
            state = f"{value:.3f}" if isinstance(value, float) else str(value)
            return f"{state} {entry.get('size')}"
    return ""


@contextmanager
def open_store(file: RemoteFile, files: Any) -> Iterator[Opened]:
    """Open an object, or the part of it that is meant, for one reading from its file system.

    A part needs no look at the object before: size and state are those of the list of parts, and of a part without a
    state nothing is asked but its bytes.

    Raises:
        Exception: whatever the file system raises.
    """
    identity, end = (file.identity, file.start + file.size) if file.size is not None else _whole(file, files)
    # What does not ask for ranges by itself reads through a buffer, which would fetch ahead of what is asked for.
    exact = {} if getattr(files, "async_impl", False) else {"cache_type": "none"}

    def chunks() -> Iterator[bytes]:
        position, size = file.start, _FIRST
        while position < end:
            began = time.monotonic()
            data = files.cat_file(file.url, start=position, end=min(position + size, end), **exact)
            if not data:
                return
            # A range comes as a whole: from a slow store a large one would take as long as one that stalls.
            size = min(4 * size, CHUNK) if time.monotonic() - began < _QUICK_S else _SLOW
            yield data
            position += len(data)
        # Ranges of two states of the object must not be joined, nor may another state lie where a part was listed.
        if identity and look_at_store(file, files) != identity:
            raise OSError(REPLACED)

    yield Opened(end - file.start, identity, chunks())


def _whole(file: RemoteFile, files: Any) -> tuple[str, int]:
    """State and size of an object."""
    entry = _entry(file, files)
    if entry.get("type") == "directory":
        raise FileNotFoundError("it is a folder")
    return identity_of(entry), int(entry["size"])


def look_at_store(file: RemoteFile, files: Any) -> str:
    """What tells one state of an object from another; empty if nothing does.

    Raises:
        Exception: whatever the file system raises.
    """
    return identity_of(_entry(file, files))


def _entry(file: RemoteFile, files: Any) -> Mapping[str, Any]:
    # Of an object that is looked at anew, the file system of the hub gives the state only where all is asked for.
    more = {"expand_info": True} if scheme_of(file.url) == "hf" else {}
    metadata: Mapping[str, Any] = files.info(file.url, refresh=True, **more)
    return metadata
