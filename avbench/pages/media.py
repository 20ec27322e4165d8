"""Media files on a page: inside it as base64 where small enough, else as links."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from avbench.files import read_regular

Embed = Literal["auto", "always", "never"]
MOST_FILE_BYTES = 2**30
"""Larger files are not read: they are linked."""
AUTO_BYTES = 40_000_000
"""Embedding grows by a third in base64; browsers open a page of about 50 MB without trouble."""
CHANGED = "it changed while this report was written"
HIDDEN = "it lies in a home folder, and a link would show its name; embedded media (--media always) need no link"

_KINDS = {
    "video/mp4": ".mp4 .m4v .mov .qt .f4v .mj2", "video/webm": ".webm", "video/x-matroska": ".mkv .mk3d",
    "video/x-msvideo": ".avi .divx", "video/ogg": ".ogv .ogm", "video/mpeg": ".mpg .mpeg .mpe .m1v .m2v .vob",
    "video/mp2t": ".ts .mts .m2ts .m2t", "video/x-flv": ".flv", "video/x-ms-wmv": ".wmv .asf",
    "video/3gpp": ".3gp .3g2", "video/h264": ".264 .h264", "video/h265": ".265 .h265 .hevc", "application/mxf": ".mxf",
    "application/octet-stream": ".ivf .nut", "image/gif": ".gif", "audio/wav": ".wav", "audio/flac": ".flac",
    "audio/mpeg": ".mp3", "audio/ogg": ".ogg .oga .opus", "audio/mp4": ".m4a", "audio/aac": ".aac",
    "audio/aiff": ".aif .aiff", "audio/x-ms-wma": ".wma", "audio/ac3": ".ac3", "audio/x-matroska": ".mka",
}  # fmt: skip
TYPES = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()}
"""Kinds of media by suffix; no other file is opened."""


@dataclass(frozen=True)
class Located:
    """One file of a clip: its path, sha256 and size where it was taken, else why not.

    `digest` is None with a path for a file that could not be checked.
    """

    path: Path | None = None
    digest: bytes | None = None
    note: str = ""
    size: int = 0


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


def bundle_media(located: Mapping[str, tuple[Located, Located | None]], page_folder: Path, embed: Embed) -> MediaBundle:
    """Decide how the page reaches its media, and read what goes inside.

    Args:
        located: video and sound file of each shown clip, by clip id.
        page_folder: where the page will lie; links are relative to it.
        embed: "always", "never", or "auto": inside while all files together have at most `AUTO_BYTES`.

    Returns:
        Files with the same content appear once.
    """
    every = [file for pair in located.values() for file in pair if file is not None]
    inside = embed == "always" or (embed == "auto" and _total(every) <= AUTO_BYTES)
    files: list[MediaFile] = []
    known: dict[tuple[object, str], int] = {}

    def number(file: Located) -> int:
        key = (file.digest or file.path, file.note)
        if key not in known:
            known[key] = len(files)
            files.append(_media_file(file, page_folder, inside))
        return known[key]

    index = {
        clip: (number(video), None if sound is None else number(sound)) for clip, (video, sound) in located.items()
    }
    return MediaBundle(tuple(files), index, inside)


def data_address(kind: str, content: bytes) -> str:
    """Content as an address that lies inside the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def file_address(path: Path) -> str | None:
    """A media file as such an address; None where it is missing, no regular file, too large, or of no known kind."""
    kind = TYPES.get(path.suffix.lower())
    try:
        return None if kind is None else data_address(kind, read_regular(path, most=MOST_FILE_BYTES))
    except OSError:
        return None


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
