"""Content digest of a clip's files, and the check that they did not change while it was scored."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from avbench.clips import Clip
from avbench.errors import MediaError

Stamp = tuple[int, int, int, int]
"""Inode, size, and times of the last change of content and of inode in ns. Nothing can write to a file and keep all."""

Stamps = tuple[Stamp | None, ...]
"""Of the video file, and of the audio file if there is one; None where a file cannot be opened."""


class ChangedError(MediaError):
    """A clip's files changed after their digest was taken.

    `sha256` is a digest that no content has: what is written under it never serves another run.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.sha256 = hashlib.sha256(f"changed:{uuid.uuid4()}".encode()).hexdigest()


@dataclass(frozen=True)
class Content:
    """Digest of a clip's files, and the state of the files when it was taken.

    Attributes:
        sha256: digest over the bytes of the file(s); over their paths where one cannot be read.
        stamps: state of the files before the first byte was read; empty if unknown.
        known: False for a remote clip that nobody has read yet; `sha256` then stands for its name.
    """

    sha256: str
    stamps: Stamps = ()
    known: bool = True


def read_content(clip: Clip) -> Content:
    """Read a clip's file(s) for their digest."""
    digest, stamps, whole = hashlib.sha256(), list[Stamp | None](), True
    for path in _files(clip):
        stamp = None
        try:
            with open_file(path) as file:
                stamp = _stamp(file)
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError:
            whole = False
        stamps.append(stamp)
    if not whole:
        return Content(unreadable(clip), tuple(stamps))
    return Content(digest.hexdigest(), tuple(stamps))


def unreadable(clip: Clip) -> str:
    """The digest of a clip whose bytes are not known: of its names."""
    return hashlib.sha256(f"unreadable:{clip.video}:{clip.audio}".encode("utf-8", "surrogateescape")).hexdigest()


@contextmanager
def unchanged(clip: Clip, content: Content) -> Iterator[None]:
    """Whatever is read of the clip's files inside is of this content.

    Before, files that were only touched, moved or linked are read again, and pass. Inside, nothing may change: what was
    decoded meanwhile may have been something else, even if the old file is back.

    Raises:
        ChangedError: the files hold something else, or changed inside.
    """
    before = content.stamps
    if before != look(clip):
        now = read_content(clip)
        if now.sha256 != content.sha256:
            raise _changed(before, now.stamps)
        before = now.stamps
    try:
        yield
    except MediaError as error:
        if before != (after := look(clip)):
            raise _changed(before, after) from error
        raise
    if before != (after := look(clip)):
        raise _changed(before, after)


def _changed(before: Stamps, after: Stamps) -> ChangedError:
    same = [index < len(before) and before[index] == stamp for index, stamp in enumerate(after)]
    index = same.index(False) if False in same else 0
    name = "audio file" if index else "video file"
    what = "vanished" if after[index] is None else "was replaced or changed"
    return ChangedError(f"the {name} {what} after its digest was taken; run the same command again")


def _files(clip: Clip) -> list[Path]:
    return [clip.video, *([clip.audio] if clip.audio else [])]


def open_file(path: Path) -> BufferedReader:
    """Open a file of a clip for reading; links are followed.

    Raises:
        OSError: it is no file, or may not be read.
    """
    if not path.is_file():  # opening a pipe would wait for its writer
        raise FileNotFoundError(path)
    return path.open("rb")


def look(clip: Clip) -> Stamps:
    """The state of a clip's files now."""
    stamps: list[Stamp | None] = []
    for path in _files(clip):
        try:
            # Opened, because network drives answer from memory when they are only asked for a path.
            with open_file(path) as file:
                stamps.append(_stamp(file))
        except OSError:
            stamps.append(None)
    return tuple(stamps)


def _stamp(file: BufferedReader) -> Stamp:
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
