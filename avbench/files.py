"""File operations: atomic writes, renames, temporary folders, locks, opening of regular files."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, TYPE_CHECKING

from avbench.errors import EnvironmentProblem

if TYPE_CHECKING:
    from filelock import BaseFileLock


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file by temporary name and rename, so that no reader ever sees half of it.

    Raises:
        EnvironmentProblem: the folder is read-only or the disk is full; an older file stays as it was.
    """
    with writing_aside(path) as file:
        file.write(data)


@contextmanager
def writing_aside(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of `path` at the end, and vanishes where the writing fails.

    Args:
        path: the file to be; its folder exists.
        durable: whether a crash of the machine may not cost the content: without, the new name may hold nothing then.

    Raises:
        EnvironmentProblem: the folder is read-only or the disk is full; an older file stays as it was.
    """
    temporary: Path | None = None
    try:
        # Beside the target: a rename from another drive would be a copy, which readers can catch half-way.
        temporary, file = new_file(path.parent, prefix=f".{path.name}.")
        with file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        rename(temporary, path)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise EnvironmentProblem(f"cannot write {path}: {error.strerror or error}") from error
        raise


@contextmanager
def path_aside(path: Path) -> Iterator[Path]:
    """A path beside `path` for libraries that write to a name; renamed to `path` at the end, removed on failure.

    What was written is on the drive before it has its name: after a loss of power a name alone may hold nothing.

    Raises:
        OSError: it cannot be renamed; an older file stays as it was.
    """
    # Not the process number alone: on a folder that machines share, two processes can have the same.
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        rename(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def rename(whole: Path, path: Path) -> None:
    """Let a file that is whole appear as `path`, in one step and in place of an older one. Both on one drive.

    A folder is renamed as well, where nothing but an empty folder is at `path`.

    Raises:
        OSError: it cannot.
    """
    whole.replace(path)


def new_file(folder: Path, *, prefix: str = "", suffix: str = "") -> tuple[Path, IO[bytes]]:
    """A new file in `folder` under a name that nothing else has, open for writing.

    Raises:
        OSError: it cannot be made.
    """
    handle, name = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=suffix)
    return Path(name), os.fdopen(handle, "wb")


def make_folder(path: Path, option: str = "") -> None:
    """Make a folder and those above it, unless they are there; `option` chooses another one.

    Raises:
        EnvironmentProblem: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cure = f". Choose another folder ({option})." if option else ""
        raise EnvironmentProblem(f"cannot make {path}: {error.strerror or error}{cure}") from error


def new_folder(parent: Path | None, *, prefix: str = "") -> Path:
    """A new folder below `parent`, below the system's folder for temporary files for None.

    Raises:
        EnvironmentProblem: it cannot be made.
    """
    try:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    except OSError as error:
        raise EnvironmentProblem(f"no temporary folder can be made in {parent}: {error.strerror or error}") from error


@contextmanager
def temporary_folder(parent: Path | None, *, prefix: str = "") -> Iterator[Path]:
    """A new folder as by `new_folder` that is removed at the end, with what it holds."""
    folder = new_folder(parent, prefix=prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def open_regular(path: Path, *, most: int | None = None) -> BufferedReader:
    """Open a file for reading where it is a regular file: no link, folder, pipe, device or socket.

    Args:
        path: the file; its folder may be reached through links.
        most: bytes that it may have.

    Raises:
        OSError: it is missing, may not be read, is something else, or is larger. The message has no path.
    """
    _require_regular(path.lstat().st_mode)  # before opening: to open a device can change it
    # Between the two calls the file may have become a pipe, which must not block, or a link.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    try:
        status = os.fstat(file.fileno())
        _require_regular(status.st_mode)
        if most is not None and status.st_size > most:
            raise OSError(f"it has {status.st_size:,} bytes, and {most:,} are read at most")
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: Path, *, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        OSError: see `open_regular`.
    """
    with open_regular(path, most=most) as file:
        content = file.read(most + 1)  # entries of /proc and files that grow have more bytes than they say
    if len(content) > most:
        raise OSError(f"it has more than {most:,} bytes")
    return content


def _require_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a pipe, device or socket"
        raise OSError(f"it is {kind}, expected a file")


def below_or_name(path: Path, folder: Path) -> str:
    """`path` relative to `folder` where it lies below it, else its name alone: nothing of the machine shows.

    Below the root of a file system lies everything, so that is no such folder. Forward slashes on every system, so
    that the text can be moved to another.
    """
    # Texts, not paths: a tenth of the time, which counts for sources with many clips.
    absolute, base = (os.path.normpath(each.absolute()) for each in (path, folder))
    inside = os.path.normcase(absolute + os.sep).startswith(os.path.normcase(base + os.sep))
    if not inside or base.endswith(os.sep):  # as a root does
        return Path(absolute).name
    return absolute[len(base) + 1 :].replace(os.sep, "/") or "."


def take_lock(path: Path, option: str) -> BaseFileLock:
    """The lock on `path`, held by this process until it is released; `option` chooses another folder.

    Raises:
        filelock.Timeout: another process holds it.
        EnvironmentProblem: the drive has no locks.
        OSError: the file cannot be written.
    """
    from filelock import FileLock

    _try_lock(path, option)
    lock = FileLock(path)
    lock.acquire(timeout=0)
    return lock


@contextmanager
def locked(path: Path, option: str) -> Iterator[None]:
    """Hold the lock on `path`; raises what `take_lock` raises."""
    lock = take_lock(path, option)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def inheritable_lock(path: Path, option: str) -> Iterator[int | None]:
    """Hold the lock on `path` for this process and the children that inherit its descriptor.

    Yields:
        The descriptor; None where another process has the lock; -1 on Windows, where children inherit no lock.

    Raises:
        EnvironmentProblem: the file cannot be written, or its drive has no locks.
    """
    try:
        import fcntl
    except ImportError:
        with _locked_or_none(path, option) as held:
            yield held
        return
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        cure = f"Choose another folder ({option})."
        raise EnvironmentProblem(f"cannot write {path}: {error.strerror or error}. {cure}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        except OSError as error:
            raise no_locks(path.parent, option, error) from error
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _locked_or_none(path: Path, option: str) -> Iterator[int | None]:
    from filelock import Timeout

    try:
        with locked(path, option):
            yield -1
    except Timeout:
        yield None


def no_locks(folder: Path, option: str, error: OSError) -> EnvironmentProblem:
    """The error of a drive that cannot lock files."""
    return EnvironmentProblem(
        f"{folder} is on a drive that cannot lock files ({error.strerror or error}), as some network drives are. "
        f"Choose a folder on a local disk with {option}."
    )


def _try_lock(path: Path, option: str) -> None:
    """Ask the system itself: FileLock takes some refusals for a lock of another process, or makes do without."""
    try:
        import fcntl
    except ImportError:  # Windows, where every drive has locks
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        pass  # held by another process, or about to be taken
    except OSError as error:
        raise no_locks(path.parent, option, error) from error
    finally:
        os.close(descriptor)


def home_folder() -> Path:
    """The home folder; "/" for a user without one, as containers set HOME then. It may be missing or read-only."""
    return expand_home("~")


def expand_home(path: str) -> Path:
    """`path` with the home folder for a leading ~."""
    if path != "~" and not path.startswith("~/"):
        return Path(path)
    # Path.home raises without HOME and without an entry for the user; os.path then leaves the ~ there.
    expanded = os.path.expanduser(path)  # noqa: PTH111
    return Path("/", path[2:]) if expanded == path else Path(expanded)
