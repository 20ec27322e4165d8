"""Media files on the page: inside it as base64 where small enough, else as links."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

Embed = Literal["auto", "always", "never"]
AUTO_BYTES = 40_000_000
"""Embedding grows by a third in base64; browsers open a page of about 50 MB without trouble."""
_TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm",
    ".mkv": "video/x-matroska", ".avi": "video/x-msvideo", ".gif": "image/gif",
    ".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".ogg": "audio/ogg",
    ".opus": "audio/ogg", ".m4a": "audio/mp4", ".aac": "audio/aac",
}  # fmt: skip


@dataclass(frozen=True)
class MediaFile:
    """One distinct file: `data` is base64 where embedded, else `src` is a link; both None if missing."""

    type: str
    data: str | None = None
    src: str | None = None


@dataclass(frozen=True)
class MediaBundle:
    """Distinct files, and for each path that was asked for the index of its file."""

    files: tuple[MediaFile, ...]
    index: dict[str, int]
    embedded: bool


def bundle_media(paths: Iterable[str], run_folder: Path, page_folder: Path, embed: Embed) -> MediaBundle:
    """Decide how the page reaches its media, and read what goes inside.

    Args:
        paths: file names as in the clip table; relative ones are looked up in the run folder, then from the
            current folder.
        run_folder: the run folder.
        page_folder: where the page will lie; links are relative to it.
        embed: "always", "never", or "auto": inside while all files together have at most `AUTO_BYTES`.

    Returns:
        Files with the same content appear once when embedded, files with the same path once when linked.
    """
    found = {path: _locate(path, run_folder) for path in dict.fromkeys(paths)}
    total = sum(file.stat().st_size for file in set(found.values()) if file is not None)
    inside = embed == "always" or (embed == "auto" and total <= AUTO_BYTES)
    files: list[MediaFile] = []
    index: dict[str, int] = {}
    known: dict[str, int] = {}
    for path, file in found.items():
        content = _read(file) if inside and file is not None else None
        key = hashlib.sha256(content).hexdigest() if content is not None else str(file or path)
        if key not in known:
            known[key] = len(files)
            files.append(_media_file(Path(path).suffix.lower(), file, content, page_folder))
        index[path] = known[key]
    return MediaBundle(tuple(files), index, inside)


def _media_file(suffix: str, file: Path | None, content: bytes | None, page_folder: Path) -> MediaFile:
    kind = _TYPES.get(suffix, "application/octet-stream")
    if content is not None:
        return MediaFile(kind, data=base64.b64encode(content).decode("ascii"))
    return MediaFile(kind, src=None if file is None else _link(file, page_folder))


def _locate(path: str, run_folder: Path) -> Path | None:
    for candidate in (run_folder / path, Path(path)):
        try:
            if candidate.is_file():
                return candidate.absolute()
        except (OSError, ValueError):  # a name that this system cannot hold
            continue
    return None


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _link(file: Path, page_folder: Path) -> str:
    try:
        relative = Path(os.path.relpath(file, page_folder.absolute())).as_posix()
    except ValueError:  # another drive on Windows
        return file.as_uri()
    # "./" keeps a colon in the first part from being read as a scheme.
    return "./" + quote(relative)
