"""Which files of this machine a report may show: those whose content the run names, in folders where it may look.

A run folder may come from a stranger, and its clip table can name any file. A file is taken where it lies below one of
the folders, its digest is that of the clip, and it is a regular file of bounded size.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.clips import clip_digest
from avbench.files import open_regular

if TYPE_CHECKING:
    from avbench.results import Run

MOST_FILE_BYTES = 2**30
"""Larger files are not read: they are linked."""
MOST_READ_BYTES = 16 * 2**30
"""Bytes that one report reads in search of its media."""
MOST_SEARCHED = 100_000
"""Files that are looked at below one folder."""

TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm",
    ".mkv": "video/x-matroska", ".avi": "video/x-msvideo", ".gif": "image/gif", ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg", ".ts": "video/mp2t", ".mts": "video/mp2t", ".m2ts": "video/mp2t", ".flv": "video/x-flv",
    ".wmv": "video/x-ms-wmv", ".asf": "video/x-ms-asf", ".3gp": "video/3gpp", ".ogv": "video/ogg",
    ".3g2": "video/3gpp2", ".vob": "video/mpeg", ".mxf": "application/mxf",
    ".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg", ".m4a": "audio/mp4", ".aac": "audio/aac",
    ".aif": "audio/aiff", ".aiff": "audio/aiff", ".wma": "audio/x-ms-wma", ".ac3": "audio/ac3",
    ".mka": "audio/x-matroska",
}  # fmt: skip

NOT_FOUND = "not found below the run's source or beside the run; 'avbench report --source FOLDER' says where it is"
OTHER_CONTENT = "a file of this name is there, and its content is not the one that was scored"
UNCHECKED = "could not be checked (too large, or not readable), so it is linked by its name alone"


@dataclass(frozen=True)
class ClipMedia:
    """What the clip table says of one clip: its files as they are named there, and the digest of their content."""

    clip_id: str
    video: str
    audio: str | None
    sha256: str


@dataclass(frozen=True)
class Located:
    """One file of a clip: its path and digest where it was taken, else why not.

    `digest` is None with a path for a file that could not be checked.
    """

    path: Path | None = None
    digest: str | None = None
    note: str = ""


def lookup_folders(run: Run, given: Sequence[Path]) -> list[Path]:
    """Folders below which media of the run may lie, resolved, in the order in which they are looked into.

    Args:
        run: its `source` is taken from the current folder, and from the folders that the run folder lies in, so that
            source and run can be moved together.
        given: folders that the user named; they come first.
    """
    home = run.path.resolve().parent
    source = str(run.info.get("source") or "")
    named = Path(source)
    if not source or "\0" in source:
        candidates = []
    elif named.is_absolute():  # of an avbench that recorded whole paths
        candidates = [named]
    else:
        candidates = [Path.cwd() / named]
        if named.parts and ".." not in named.parts:
            candidates += [parent / named for parent in (home, *home.parents)]
    found = []
    for folder in [*given, *candidates, home]:
        resolved = _resolve(folder)
        # Below the root of the file system lies everything.
        if resolved is not None and resolved.parent != resolved and resolved.is_dir():
            found.append(resolved)
    return list(dict.fromkeys(found))


def _resolve(path: Path) -> Path | None:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # missing, a loop of links, a name that this system cannot hold
        return None


class MediaFinder:
    """Finds the files of clips; every file is read once.

    Args:
        run: the run.
        given: folders that the user named, beside those that `lookup_folders` adds.
        search: look below `given` for files of the right content under any name.
    """

    def __init__(self, run: Run, given: Sequence[Path], *, search: bool) -> None:
        self._folders = lookup_folders(run, given)
        self._searched = _Listing([f for folder in given if (f := _resolve(folder)) is not None] if search else [])
        self._digests: dict[Path, bytes | None] = {}
        self._left = MOST_READ_BYTES

    def find(self, clip: ClipMedia) -> tuple[Located, Located | None]:
        """Video and sound file of a clip; the latter None where it has none."""
        videos = list(self._candidates(clip.video))
        audios = list(self._candidates(clip.audio)) if clip.audio is not None else [None]
        return self._matching(clip, videos, audios) or self._search(clip) or self._refused(clip, videos, audios)

    def _candidates(self, name: str) -> Iterator[Path]:
        """Existing media files that the name may mean: all below one of the folders, links resolved."""
        for folder in self._folders:
            for relative in _relative_names(name):
                resolved = _resolve(folder / relative)
                if resolved is not None and self._may_be_read(resolved):
                    yield resolved

    def _may_be_read(self, path: Path) -> bool:
        """Whether a resolved path is a media file by its name, is not empty, and lies below one of the folders."""
        if path.suffix.lower() not in TYPES or not any(path.is_relative_to(folder) for folder in self._folders):
            return False
        try:
            with open_regular(path) as file:
                return os.fstat(file.fileno()).st_size > 0
        except OSError:
            return False

    def _digest(self, path: Path) -> bytes | None:
        """sha256 of a file; None where it cannot be read, or is too large."""
        if path not in self._digests:
            self._digests[path] = None
            try:
                with open_regular(path, most=min(MOST_FILE_BYTES, self._left)) as file:
                    self._left -= os.fstat(file.fileno()).st_size
                    self._digests[path] = hashlib.file_digest(file, "sha256").digest()
            except OSError:
                pass
        return self._digests[path]

    def _matching(
        self, clip: ClipMedia, videos: Iterable[Path], audios: Sequence[Path | None]
    ) -> tuple[Located, Located | None] | None:
        """The first files that together have the digest of the clip."""
        for video, audio in product(videos, audios):
            digests = [self._digest(path) for path in (video, audio) if path is not None]
            known = [digest for digest in digests if digest is not None]
            if len(known) == len(digests) and clip_digest(known) == clip.sha256:
                sound = None if audio is None else Located(audio, known[1].hex())
                return Located(video, known[0].hex()), sound
        return None

    def _search(self, clip: ClipMedia) -> tuple[Located, Located | None] | None:
        """The same among all files below the folders to search, likely ones first."""
        for video in self._searched.like(clip.video):
            if not self._may_be_read(video):
                continue
            sounds = [None] if clip.audio is None else self._searched.beside(video, clip.audio)
            if found := self._matching(clip, [video], [s for s in sounds if s is None or self._may_be_read(s)]):
                return found
        return None

    def _refused(
        self, clip: ClipMedia, videos: Sequence[Path], audios: Sequence[Path | None]
    ) -> tuple[Located, Located | None]:
        """Why the files are not taken; those that are too large to be checked are."""
        sound = None if clip.audio is None else self._why(audios)
        return self._why(videos), sound

    def _why(self, paths: Sequence[Path | None]) -> Located:
        for path in paths:
            if path is not None and self._digest(path) is None:
                return Located(path, None, UNCHECKED)
        return Located(note=OTHER_CONTENT if any(paths) else NOT_FOUND)


def _parts(name: str) -> list[str]:
    return re.split(r"[/\\]", name)


def _relative_names(name: str) -> Iterator[str]:
    """The name, and for a whole path its ends: the folders above may have been others when the run was made."""
    yield name  # a whole path stays what it is: it has to lie below one of the folders as well
    parts = _parts(name)
    if parts[0] == "" or parts[0].endswith(":"):
        yield from ("/".join(parts[start:]) for start in range(1, len(parts)) if ".." not in parts[start:])


class _Listing:
    """The media files below some folders, by name, listed when first asked for."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._roots = folders

    @cached_property
    def _all(self) -> list[Path]:
        return [path for folder in self._roots for path in _media_below(folder)]

    @cached_property
    def _named(self) -> dict[str, list[Path]]:
        """By name, and by name without suffix."""
        found: dict[str, list[Path]] = {}
        for path in self._all:
            for key in {path.name, path.stem}:
                found.setdefault(key, []).append(path)
        return found

    def like(self, name: str) -> Iterator[Path]:
        """Files with this name, then all."""
        yield from self._named.get(_parts(name)[-1], [])
        yield from self._all

    def beside(self, video: Path, name: str) -> list[Path]:
        """Sound files that may belong to a video: of this name, or of the video's."""
        return [*self._named.get(_parts(name)[-1], []), *self._named.get(video.stem, [])]


def _media_below(folder: Path) -> Iterator[Path]:
    """Media files below a folder by their names, links to folders not entered; at most `MOST_SEARCHED` files."""
    seen = 0
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            seen += 1
            if seen > MOST_SEARCHED:
                return
            if Path(name).suffix.lower() in TYPES and (path := _resolve(Path(parent) / name)) is not None:
                yield path
