"""Find the media files that a report may show: those with the digest that the run names, in allowed folders.

A run folder may come from a stranger, and its clip table can name any file. A file is taken where it lies below one of
the folders, its digest is that of the clip, and it is a regular file of bounded size.
"""

from __future__ import annotations

import hashlib
import math
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
from avbench.pages.media import MOST_FILE_BYTES, TYPES, Located

if TYPE_CHECKING:
    from avbench.results import Run

MOST_READ_BYTES = 4 * 2**30
"""Bytes that one report reads to check its media; there is no such bound where the user asks for a search."""
MOST_SEARCHED = 100_000
"""Files that are looked at below one folder."""

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
    folders = []
    for folder in [*given, *candidates, home]:
        resolved = _resolve(folder)
        # Below the root of the file system lies everything.
        if resolved is not None and resolved.parent != resolved and resolved.is_dir():
            folders.append(resolved)
    return list(dict.fromkeys(folders))


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
        self._seen: dict[Path, Located] = {}
        self._left = math.inf if search else MOST_READ_BYTES

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

    def _look(self, path: Path) -> Located:
        """The file with its digest; without one where it cannot be read, or is too large."""
        if path not in self._seen:
            self._seen[path] = Located(path, None, UNCHECKED)
            try:
                with open_regular(path, most=int(min(MOST_FILE_BYTES, self._left))) as file:
                    size = os.fstat(file.fileno()).st_size
                    self._left -= size
                    self._seen[path] = Located(path, hashlib.file_digest(file, "sha256").digest(), size=size)
            except OSError:
                pass
        return self._seen[path]

    def _matching(
        self, clip: ClipMedia, videos: Iterable[Path], audios: Sequence[Path | None]
    ) -> tuple[Located, Located | None] | None:
        """The first files that together have the digest of the clip."""
        for video, audio in product(videos, audios):
            files = [self._look(path) for path in (video, audio) if path is not None]
            digests = [file.digest for file in files if file.digest is not None]
            if len(digests) == len(files) and clip_digest(digests) == clip.sha256:
                return files[0], files[1] if audio is not None else None
        return None

    def _search(self, clip: ClipMedia) -> tuple[Located, Located | None] | None:
        """The same among all files below the folders to search, likely ones first."""
        for video in self._searched.like(clip.video):
            if not self._may_be_read(video):
                continue
            sounds = [None] if clip.audio is None else self._searched.beside(video, clip.audio)
            if match := self._matching(clip, [video], [s for s in sounds if s is None or self._may_be_read(s)]):
                return match
        return None

    def _refused(
        self, clip: ClipMedia, videos: Sequence[Path], audios: Sequence[Path | None]
    ) -> tuple[Located, Located | None]:
        """Why the files are not taken; those that are too large to be checked are."""
        sound = None if clip.audio is None else self._why(audios)
        return self._why(videos), sound

    def _why(self, paths: Sequence[Path | None]) -> Located:
        for path in filter(None, paths):
            if self._look(path).digest is None:
                return self._look(path)
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
        paths: dict[str, list[Path]] = {}
        for path in self._all:
            for key in {path.name, path.stem}:
                paths.setdefault(key, []).append(path)
        return paths

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
