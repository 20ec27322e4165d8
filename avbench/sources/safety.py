"""Check paths that a source names: files below its folder, never an address, a device or a folder."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from avbench.clips import RemoteFile
from avbench.errors import UsageError
from avbench.remote.addresses import WEB, is_address, scheme_of, without_secrets
from avbench.remote.hosts import RefusedHostError, refuse_literal
from avbench.remote.stores import file_system
from avbench.sources.spelling import composed

# Two characters or more, so that the drive of `C:\clips` is no scheme.
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")
_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")

FileKind = Literal["file", "folder", "special", "missing"]


def file_kind(path: Path) -> FileKind:
    """What lies at `path` (links followed). Whatever cannot be looked at counts as missing."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return "missing"
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "special"


def printable(text: str) -> str:
    """`text` as valid Unicode: undecodable bytes of a file name become backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def some_of(items: Sequence[str], limit: int = 3) -> str:
    """The first few items for a message: "a, b, c and 4 more"."""
    shown = ", ".join(items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"


def as_on_disk(path: Path) -> Path:
    """`path`, or where nothing is there, the one file whose name differs in the Unicode form only.

    Raises:
        UsageError: several such files.
    """
    if str(path).isascii() or file_kind(path) != "missing":
        return path
    actual = Path(path.anchor)
    for part in path.parts[bool(path.anchor) :]:
        is_there = part.isascii() or file_kind(actual / part) != "missing"
        actual = actual / (part if is_there else _on_disk(actual, part))
    return actual


def _on_disk(folder: Path, name: str) -> str:
    try:
        same = _spellings(folder, folder.stat().st_mtime_ns).get(composed(name), [])
    except (OSError, ValueError):
        return name
    if len(same) > 1:
        raise UsageError(
            f"{printable(str(folder / name))}: {len(same)} files have this name in other Unicode forms: "
            f"{some_of([ascii(other) for other in same])}. Rename all but one."
        )
    return same[0] if same else name


@lru_cache(maxsize=16)
def _spellings(folder: Path, changed: int) -> dict[str, list[str]]:
    """Names in a folder by their composed form; `changed` makes a folder that changed another one to the cache."""
    spellings: dict[str, list[str]] = {}
    for entry in sorted(folder.iterdir()):
        spellings.setdefault(composed(entry.name), []).append(entry.name)
    return spellings


def require_inside(path: Path, root: Path, location: str, *, allow_outside: bool) -> Path:
    """The resolved `path`, which must lie below `root` unless `allow_outside`.

    A loop of links is a file that cannot be read: it stays where it is, and costs no other clip.

    Raises:
        UsageError: the path leaves the folder or cannot be resolved (a NUL character, too long a name).
    """
    try:
        resolved = Path(os.path.realpath(path))
    except (OSError, ValueError) as exc:
        raise UsageError(
            f"{location}: the path {printable(str(path))!r} cannot be resolved ({exc}). Correct the path."
        ) from exc
    if not allow_outside and not resolved.is_relative_to(root):
        raise UsageError(
            f"{location}: {printable(str(path))!r} leads to {printable(str(resolved))!r}, which is outside of "
            f"{root}. Move the file below that folder, or allow outside paths (--allow-outside) if you "
            "trust this source."
        )
    return resolved


def listed_path(raw: str, root: Path, location: str, *, allow_outside: bool) -> Path:
    """The file that a manifest cell names. It need not exist.

    Args:
        raw: the cell; relative paths are taken from `root`.
        root: the resolved folder of the manifest.
        location: file and line, for messages.

    Raises:
        UsageError: an address with a scheme, a NUL, a network share, a folder, a device, a drive of another system, a
            path that leaves `root` without `allow_outside`, or several files that it may mean.
    """
    text = raw.strip()
    if "\0" in text:
        raise UsageError(f"{location}: the path {text!r} has a NUL character. Write a plain file path.")
    if _SCHEME.match(text):
        cure = "allow addresses (--allow-remote) if you trust this source" if is_address(text) else "download the file"
        raise UsageError(
            f"{location}: {without_secrets(text)!r} looks like an address, and only local files are read: {cure} "
            "(write ./ in front of a file name that has a colon)."
        )
    if text.replace("\\", "/").startswith("//"):
        raise UsageError(f"{location}: {text!r} is a network path. Copy the file below {root} and list that.")
    path = _spelled_path(text, root, location, allow_outside=allow_outside)
    resolved = require_inside(path, root, location, allow_outside=allow_outside)
    kind = file_kind(resolved)
    if kind in ("folder", "special"):
        what = "a folder" if kind == "folder" else "a device, pipe or socket"
        raise UsageError(f"{location}: {text!r} is {what}; expected a media file. Correct the path.")
    return resolved if ".." in path.parts else path


def listed_address(raw: str, location: str, hosts: frozenset[str]) -> RemoteFile:
    """The remote file that a manifest cell names. Nobody is asked whether it is there.

    Args:
        raw: the cell.
        location: file and line, for messages.
        hosts: hosts on private ranges that it may name.

    Raises:
        UsageError: control characters, or a private host by its number.
        EnvironmentProblem: the package that reads it is missing.
    """
    url = raw.strip()
    if not url.isprintable():
        raise UsageError(f"{location}: {without_secrets(url)!r} has characters that no address has. Correct the cell.")
    if scheme_of(url) in WEB:
        try:
            refuse_literal(url, hosts)
        except RefusedHostError as error:
            raise UsageError(f"{location}: {error}.") from error
    else:
        file_system(url)
    return RemoteFile(url, hosts=hosts)


def _spelled_path(text: str, root: Path, location: str, *, allow_outside: bool) -> Path:
    """The file that a cell means: as it is written, else with / for backslashes, else in another Unicode form."""
    path = root / text
    if file_kind(path) != "missing":
        return path
    if "\\" in text and os.sep == "/":
        if _DRIVE.match(text):
            raise UsageError(
                f"{location}: {text!r} names a drive of Windows. Write the path from the manifest's folder, {root}."
            )
        path = root / text.replace("\\", "/")
    # Looked at before folders on the way are listed.
    require_inside(path, root, location, allow_outside=allow_outside)
    try:
        return as_on_disk(path)
    except UsageError as exc:
        raise UsageError(f"{location}: {exc}") from exc
