"""Fetch remote files to the disk: streamed, hashed on the way, and again where a read stalls, fails or ends early."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from io import BufferedWriter
from pathlib import Path

from avbench.clips import RemoteFile
from avbench.errors import AvbenchError, EnvironmentProblem, MediaError, UsageError
from avbench.files import new_file
from avbench.remote.addresses import WEB, scheme_of
from avbench.remote.base import Opened
from avbench.remote.hosts import RefusedHostError
from avbench.remote.stores import file_system, look_at_store, open_store, why
from avbench.remote.web import look_at_web, open_web


@dataclass(frozen=True)
class Retries:
    """How hard is tried.

    Attributes:
        attempts: readings of one file.
        wait: seconds before the second one; twice as many before each further one.
        stall: seconds without a byte after which a reading counts as failed.
    """

    attempts: int = 4
    wait: float = 0.5
    stall: float = 60.0


RETRIES = Retries()


class TooLargeError(MediaError):
    """A file beyond the bytes that may be fetched; `size` is what it has, or has had so far."""

    def __init__(self, size: int) -> None:
        super().__init__(f"a file of {size:,} bytes or more")
        self.size = size


class MissingError(MediaError):
    """There is no such file."""


def ending(what: str, error: MediaError) -> AvbenchError:
    """The error of a command that cannot do without a file: wrong usage, unless its server does not let it be read."""
    usage = isinstance(error, (MissingError, TooLargeError, RefusedHostError))
    return (UsageError if usage else EnvironmentProblem)(f"{what} {error}.")


@dataclass(frozen=True)
class Fetched:
    """What was fetched: digest of its bytes, their number, and the state of the file that they are of."""

    sha256: bytes
    size: int
    identity: str


def fetch(file: RemoteFile, target: Path, most: float, retries: Retries | None = None) -> Fetched:
    """Fetch a file to `target`, each byte once where nothing fails.

    Args:
        file: what to fetch.
        target: local file, overwritten.
        most: bytes that it may have.
        retries: how hard is tried; `RETRIES` if None.

    Raises:
        TooLargeError: it has more.
        MissingError: it is not there.
        MediaError: it must not be read, or could not be read in any attempt.
        EnvironmentProblem: a package is missing, or the disk is full.
    """
    retries = retries or RETRIES
    problem = ""
    for attempt in range(retries.attempts):
        if attempt:
            time.sleep(retries.wait * 2 ** (attempt - 1))
        try:
            return _fetch_once(file, target, most, retries.stall)
        except (MediaError, EnvironmentProblem):
            raise
        except (FileNotFoundError, PermissionError) as error:
            missing = isinstance(error, FileNotFoundError)
            kind = MissingError if missing else MediaError
            raise kind(f"{'is not there' if missing else 'must not be read'} ({why(error)})") from error
        except Exception as error:  # noqa: BLE001 - each file system has exceptions of its own
            problem = why(error)
    raise MediaError(f"could not be fetched in {retries.attempts} attempts: {problem}")


def read_part(file: RemoteFile, start: int, size: int, folder: Path) -> tuple[bytes, str]:
    """`size` bytes of a file from `start` on, and the state that they are of as far as reading tells it.

    `folder` holds the bytes meanwhile. Raises what `fetch` raises.
    """
    target, empty = new_file(folder, prefix=".fetched-")
    empty.close()
    try:
        fetched = fetch(replace(file, start=start, size=size, identity=""), target, size)
        return target.read_bytes(), fetched.identity
    finally:
        target.unlink(missing_ok=True)


def current_identity(file: RemoteFile) -> str:
    """What tells the state of a file now: from its listing, else asked for. Empty if unknown."""
    if file.identity:
        return file.identity
    try:
        return look_at(file, RETRIES.stall)
    except Exception:  # noqa: BLE001 - it is then fetched, which says what is wrong
        return ""


def look_at(file: RemoteFile, timeout: float) -> str:
    """Ask for the state of a file, and for nothing of its content; empty if its server does not say.

    Args:
        file: what to ask for.
        timeout: seconds that a web server may take; for stores, settings of fsspec count.

    Raises:
        Exception: it cannot be read; whatever its file system raises.
    """
    if scheme_of(file.url) in WEB:
        return look_at_web(file, timeout)
    return look_at_store(file, file_system(file.url))


def _fetch_once(file: RemoteFile, target: Path, most: float, stall: float) -> Fetched:
    digest, size = hashlib.sha256(), 0
    with _Reading(file, most, stall) as reading, _opened(target) as sink:
        for chunk in reading.chunks():
            digest.update(chunk)
            size += len(chunk)
            if size > most:
                raise TooLargeError(size)
            try:
                sink.write(chunk)
            except OSError as error:
                raise EnvironmentProblem(f"cannot write {target.parent}: {error.strerror or error}") from error
        if reading.size is not None and size != reading.size:
            raise OSError(f"the reading ended after {size:,} of {reading.size:,} bytes")
        return Fetched(digest.digest(), size, reading.identity)


def _opened(target: Path) -> BufferedWriter:
    try:
        return target.open("wb")
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {target.parent}: {error.strerror or error}") from error


class _Reading:
    """A reading in a thread of its own, so that one that hangs inside a library can be left behind.

    At most two chunks wait in memory. A thread that was left behind ends as soon as its library returns.
    """

    def __init__(self, file: RemoteFile, most: float, stall: float) -> None:
        self.size: int | None = None
        self.identity = ""
        self._file, self._most, self._stall = file, most, stall
        # Taken in the thread of the caller: fsspec makes another one, with connections of its own, for each thread.
        self._files = None if scheme_of(file.url) in WEB else file_system(file.url)
        self._items: queue.Queue[Opened | bytes | BaseException | None] = queue.Queue(2)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True, name="fetch")

    def __enter__(self) -> _Reading:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def chunks(self) -> Iterator[bytes]:
        opened = self._next()
        assert isinstance(opened, Opened)
        self.size, self.identity = opened.size, opened.identity
        while (item := self._next()) is not None:
            assert isinstance(item, bytes)
            yield item

    def _next(self) -> Opened | bytes | None:
        try:
            item = self._items.get(timeout=self._stall)
        except queue.Empty:
            raise TimeoutError(f"no byte came for {self._stall:g} s") from None
        if isinstance(item, BaseException):
            raise item
        return item

    def _read(self) -> None:
        try:
            with self._open() as opened:
                if opened.size is not None and opened.size > self._most:
                    raise TooLargeError(opened.size)
                self._put(opened)
                for chunk in opened.chunks:
                    self._put(chunk)
            self._put(None)
        except _LeftError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised where the file is wanted
            with suppress(_LeftError):
                self._put(error)

    def _open(self) -> AbstractContextManager[Opened]:
        if self._files is None:
            return open_web(self._file, self._stall)
        return open_store(self._file, self._files)

    def _put(self, item: Opened | bytes | BaseException | None) -> None:
        while not self._left.is_set():
            with suppress(queue.Full):
                self._items.put(item, timeout=0.2)
                return
        raise _LeftError


class _LeftError(Exception):
    """Nobody waits for this reading any more."""
