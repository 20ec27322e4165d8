"""Media files on the page: inside it as base64 where small enough, else as links."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from avbench.files import read_regular
from avbench.report.media_files import MOST_FILE_BYTES, TYPES, ClipMedia, Located, MediaFinder

Embed = Literal["auto", "always", "never"]
AUTO_BYTES = 40_000_000
"""Embedding grows by a third in base64; browsers open a page of about 50 MB without trouble."""
CHANGED = "it changed while this report was written"
HIDDEN = "it lies in a home folder, and a link would tell its name; --media always puts it inside the page"


@dataclass(frozen=True)
class MediaFile:
    """One distinct file: `data` is base64 where embedded, else `src` is a link; both None with a note why."""

    type: str
    data: str | None = None
    src: str | None = None
    note: str = ""


@dataclass(frozen=True)
class MediaBundle:
    """Distinct files, and for each clip the index of its video and of its sound file, if any."""

    files: tuple[MediaFile, ...]
    index: Mapping[str, tuple[int, int | None]]
    embedded: bool


def bundle_media(clips: Iterable[ClipMedia], finder: MediaFinder, page_folder: Path, embed: Embed) -> MediaBundle:
    """Decide how the page reaches its media, and read what goes inside.

    Args:
        clips: the shown clips.
        finder: finds their files.
        page_folder: where the page will lie; links are relative to it.
        embed: "always", "never", or "auto": inside while all files together have at most `AUTO_BYTES`.

    Returns:
        Files with the same content appear once.
    """
    found = {clip.clip_id: finder.find(clip) for clip in clips}
    every = [file for pair in found.values() for file in pair if file is not None]
    inside = embed == "always" or (embed == "auto" and _total(every) <= AUTO_BYTES)
    files: list[MediaFile] = []
    known: dict[tuple[object, str], int] = {}

    def number(file: Located) -> int:
        key = (file.digest or file.path, file.note)
        if key not in known:
            known[key] = len(files)
            files.append(_media_file(file, page_folder, inside))
        return known[key]

    index = {clip: (number(video), None if sound is None else number(sound)) for clip, (video, sound) in found.items()}
    return MediaBundle(tuple(files), index, inside)


def _total(files: Sequence[Located]) -> int:
    return sum({file.path: file.size for file in files}.values())


def _media_file(file: Located, page_folder: Path, inside: bool) -> MediaFile:
    if file.path is None:
        return MediaFile("application/octet-stream", note=file.note)
    kind = TYPES[file.path.suffix.lower()]
    if not inside or file.digest is None:
        link = _link(file.path, page_folder)
        return MediaFile(kind, src=link, note=file.note if link else HIDDEN)
    try:
        content = read_regular(file.path, most=MOST_FILE_BYTES)
    except OSError:
        content = b""
    if hashlib.sha256(content).digest() != file.digest:
        return MediaFile(kind, note=CHANGED)
    return MediaFile(kind, data=base64.b64encode(content).decode("ascii"))


def _link(file: Path, page_folder: Path) -> str | None:
    """A relative link; None where it would name a home folder in which the page does not lie, or another drive."""
    page = page_folder.resolve()
    try:
        relative = Path(os.path.relpath(file, page)).as_posix()
    except ValueError:  # another drive on Windows
        return None
    home = _home_of(file)
    if home is not None and not page.is_relative_to(home):
        return None
    # "./" keeps a colon in the first part from being read as a scheme.
    return "./" + quote(relative)


def _home_of(file: Path) -> Path | None:
    """The home folder in which a file lies, this user's or a neighbour's."""
    try:
        home = Path.home()
    except RuntimeError:  # none is known
        return None
    if file.is_relative_to(home):
        return home
    homes = home.parent
    beside = file.is_relative_to(homes) and homes.parent != homes
    return homes / file.relative_to(homes).parts[0] if beside else None
