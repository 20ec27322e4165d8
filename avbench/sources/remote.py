"""Sources in object storage and on web servers: read as a folder of the same names would be.

The names of a remote folder are laid out as empty files in a temporary folder, its tables are fetched into it, and
that folder is read by the rules for local ones. So a bucket and a copy of it give the same clips. What is found is then
named by its address; no media file is fetched here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from avbench.clips import Clip, RemoteFile
from avbench.errors import AvbenchError, MediaError, UsageError
from avbench.files import temporary_folder
from avbench.remote.addresses import WEB, as_path, scheme_of, shown
from avbench.remote.fetch import ending, fetch, read_part
from avbench.remote.hosts import host_and_port
from avbench.remote.stores import file_system, identity_of, unreachable
from avbench.sources.base import Source
from avbench.sources.columns import find_columns
from avbench.sources.safety import file_kind, some_of
from avbench.sources.shards import Shards, expand, index_shards
from avbench.sources.suffixes import AUDIO_SUFFIXES, OTHER_VIDEO_SUFFIXES, VIDEO_SUFFIXES
from avbench.sources.tables import TABLE_SUFFIXES, read_table

if TYPE_CHECKING:
    from avbench.sources.discover import Layout

_MOST_TABLE = 256 * 2**20
_HEAD = 512
_MEDIA = (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES, *OTHER_VIDEO_SUFFIXES)
_SHARDS = "shards.jsonl"


@dataclass
class _Mirror:
    """A remote folder laid out in a local one.

    Attributes:
        folder: the local one.
        base: address of the remote one.
        entry: what the source is below it; "" for the folder itself.
        files: media by path below the folder.
        notes: what was passed over.
    """

    folder: Path
    base: str
    hosts: frozenset[str]
    entry: str = ""
    files: dict[str, RemoteFile] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def lay_out(self, name: str, file: RemoteFile) -> None:
        """An empty file under this name; names that no folder can hold are noted."""
        target = self.folder / name
        try:
            if ".." in PurePosixPath(name).parts or not target.is_relative_to(self.folder):
                raise OSError("it leaves the folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        except (OSError, ValueError):
            self.notes.append(f"an object whose name is no path of a file was not taken: {name[:80]!r}")
            return
        self.files[name] = file


def load_remote(
    url: str, *, prompts: Path | None, layout: Layout, allow_remote: bool, allow_hosts: Sequence[str]
) -> Source:
    """The clips of a remote source; see `load_source`.

    Raises:
        UsageError: as `load_source`; or nothing is there.
        EnvironmentProblem: a package is missing, or the store refuses.
    """
    from avbench.sources.discover import load_source

    url = url.strip()
    hosts = frozenset(allow_hosts)
    if scheme_of(url) in WEB:  # typed by the user, so it is named
        hosts |= {"{}:{}".format(*host_and_port(url))}
    with temporary_folder(None, prefix="avbench-source-") as folder:
        folder = folder.resolve()
        mirror = _web_mirror(url, folder, hosts) if scheme_of(url) in WEB else _store_mirror(url, folder)
        try:
            loaded = load_source(
                folder / mirror.entry,
                prompts=prompts,
                layout="auto" if mirror.entry else layout,
                allow_remote=allow_remote,
                allow_hosts=sorted(hosts),
            )
        except AvbenchError as error:
            raise type(error)(_named(str(error), mirror)) from error
        clips = tuple(_remote_clip(clip, mirror) for clip in loaded.clips)
        notes = tuple(_named(note, mirror) for note in (*loaded.notes, *mirror.notes))
    kind = "shards" if mirror.entry == _SHARDS else loaded.kind
    matching = _named(loaded.matching, mirror).replace(_SHARDS, "the shards")
    return Source(as_path(mirror.base), kind, clips, matching, notes, shown(url))


def _named(text: str, mirror: _Mirror) -> str:
    return text.replace(str(mirror.folder), shown(mirror.base).rstrip("/"))


def _remote_clip(clip: Clip, mirror: _Mirror) -> Clip:
    """The clip of a laid out folder under its address."""
    video, remote_video = _remote(clip.video, clip.remote_video, mirror)
    if clip.audio is None:
        return replace(clip, video=video, remote_video=remote_video)
    audio, remote_audio = _remote(clip.audio, clip.remote_audio, mirror)
    return replace(clip, video=video, remote_video=remote_video, audio=audio, remote_audio=remote_audio)


def _remote(path: Path, remote: RemoteFile | None, mirror: _Mirror) -> tuple[Path, RemoteFile]:
    if remote is not None:
        return path, remote
    name = path.relative_to(mirror.folder).as_posix()
    # A manifest may name what the listing does not have: to fetch it then says what is wrong.
    file = mirror.files.get(name) or RemoteFile(_below(mirror.base, name), hosts=mirror.hosts)
    return as_path(mirror.base) / name, file


def _below(base: str, name: str) -> str:
    if scheme_of(base) in WEB:
        return urljoin(base, quote(name))
    return f"{base.rstrip('/')}/{name}"


def _web_mirror(url: str, folder: Path, hosts: frozenset[str]) -> _Mirror:
    """A manifest or a clip on a web server, or tar shards; a web server lists no folders."""
    name = urlsplit(url).path.rpartition("/")[2]
    base = urljoin(url, ".")
    suffix = PurePosixPath(name).suffix.lower()
    mirror = _Mirror(folder, base, hosts, name)
    if suffix == ".tar":
        shards = {_last(each): RemoteFile(each, hosts=hosts) for each in expand(url)}
        return _with_shards(mirror, shards)
    if suffix in VIDEO_SUFFIXES:
        mirror.lay_out(name, RemoteFile(url, hosts=hosts))
    elif suffix in TABLE_SUFFIXES:
        _fetch_table(RemoteFile(url, hosts=hosts), folder / name)
        _lay_out_named(mirror)
    else:
        raise UsageError(f"{shown(url)}: of a web server a manifest, a tar shard or a video is read, no folder.")
    return mirror


def _lay_out_named(mirror: _Mirror) -> None:
    """Empty files for the paths that a manifest names: a web server cannot be asked what is there."""
    table = read_table(mirror.folder / mirror.entry)
    columns = find_columns(table)
    for row in table.rows:
        for column in (columns.video, columns.audio):
            name = (row.cell(column) or "").strip() if column else ""
            if name and "://" not in name and not name.startswith(("/", "\\")):
                name = PurePosixPath(name.replace("\\", "/")).as_posix()
                mirror.lay_out(name, RemoteFile(_below(mirror.base, name), hosts=mirror.hosts))


def _last(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2] if scheme_of(url) in WEB else url.rpartition("/")[2]


def _store_mirror(url: str, folder: Path) -> _Mirror:
    """A folder, manifest, clip or tar shard in object storage."""
    files = file_system(url)
    files.invalidate_cache()  # a listing of an earlier call may be out of date
    base, name = url.rpartition("/")[0], _last(url)
    suffix = PurePosixPath(name).suffix.lower()
    none: frozenset[str] = frozenset()
    if suffix == ".tar":
        named = {_last(each): _stored(files, each) for each in expand(url)}
        return _with_shards(_Mirror(folder, base, none), named)
    if suffix in VIDEO_SUFFIXES and (entry := _entry(files, url)) is not None and entry["type"] == "file":
        mirror = _Mirror(folder, base, none, name)
        mirror.lay_out(name, RemoteFile(url, identity=identity_of(entry)))
        _lay_out_folder(mirror, files, deep=False, beside=PurePosixPath(name).stem)
        return mirror
    if suffix in TABLE_SUFFIXES:
        mirror = _Mirror(folder, base, none, name)
        _fetch_table(RemoteFile(url), folder / name)
        _lay_out_folder(mirror, files)
        return mirror
    mirror = _Mirror(folder, url.rstrip("/"), none)
    shards = _lay_out_folder(mirror, files)
    has_videos = any(name.lower().endswith(VIDEO_SUFFIXES) for name in mirror.files)
    return _with_shards(mirror, shards) if shards and not has_videos else mirror


def _entry(files: Any, url: str) -> dict[str, Any] | None:
    try:
        return dict(files.info(url))
    except FileNotFoundError:
        return None
    except Exception as error:
        raise unreachable(url, error) from error


def _stored(files: Any, url: str) -> RemoteFile:
    entry = _entry(files, url)
    if entry is None:
        raise UsageError(f"{shown(url)} does not exist.")
    return RemoteFile(url, 0, int(entry["size"]), identity_of(entry))


def _lay_out_folder(
    mirror: _Mirror, files: Any, *, deep: bool = True, beside: str | None = None
) -> dict[str, RemoteFile]:
    """Lay out what is below the folder, fetch its tables, and return its tar archives by name.

    Args:
        mirror: the folder.
        files: the file system.
        deep: with the folders in it.
        beside: only files with this name before the suffix.
    """
    shards: dict[str, RemoteFile] = {}
    for name, entry in _listing(mirror.base, files, deep):
        path = PurePosixPath(name)
        suffix = path.suffix.lower()
        file = RemoteFile(f"{mirror.base}/{name}", identity=identity_of(entry))
        if beside is not None and path.stem != beside:
            continue
        if suffix in _MEDIA:
            mirror.lay_out(name, file)
            _fetch_head(mirror, name, file)
        elif suffix == ".tar":
            shards[name] = replace(file, size=int(entry["size"]))
        elif suffix in TABLE_SUFFIXES and path.parent == PurePosixPath() and beside is None:
            target = mirror.folder / name
            if (suffix == ".csv" or path.stem == "manifest") and file_kind(target) == "missing":
                _fetch_table(file, target)
    return shards


def _listing(base: str, files: Any, deep: bool) -> list[tuple[str, dict[str, Any]]]:
    """Names below a folder, with what the store says about each.

    Raises:
        UsageError: there is nothing.
        EnvironmentProblem: the store refuses.
    """
    try:
        entries = files.find(base, maxdepth=None if deep else 1, detail=True)
    except FileNotFoundError:
        entries = {}
    except Exception as error:
        raise unreachable(base, error) from error
    start = str(files._strip_protocol(base)).rstrip("/") + "/"
    below = [(path.removeprefix(start), entry) for path, entry in sorted(entries.items()) if path.startswith(start)]
    names = [(name, entry) for name, entry in below if not any(part.startswith(".") for part in name.split("/"))]
    if not names:
        raise UsageError(f"{shown(base)} does not exist or is empty. Pass a folder of videos, a manifest or a video.")
    return names


def _fetch_head(mirror: _Mirror, name: str, file: RemoteFile) -> None:
    """The first bytes of a file whose suffix programs share."""
    target = mirror.folder / name
    if not name.lower().endswith((".ts", ".mts")) or not target.is_file():
        return
    try:
        target.write_bytes(read_part(file, 0, _HEAD, mirror.folder)[0])
    except MediaError:
        return  # shorter than that, or not readable: it is taken, and says itself what is wrong


def _fetch_table(file: RemoteFile, target: Path) -> None:
    try:
        fetch(file, target, _MOST_TABLE)
    except MediaError as error:
        raise ending(f"{shown(file.url)}:", error) from error


def _with_shards(mirror: _Mirror, shards: dict[str, RemoteFile]) -> _Mirror:
    """The folder with the members of tar shards, as a manifest where samples bring texts."""
    index: Shards = index_shards(shards, mirror.folder)
    if not index.rows:
        raise UsageError(f"no videos in the tar shards {some_of(list(shards))}. Pass shards that hold videos.")
    for name, file in index.files.items():
        mirror.lay_out(name, file)
    mirror.entry = ""
    if index.has_texts:
        lines = (json.dumps(row) for row in index.rows)
        (mirror.folder / _SHARDS).write_text("\n".join(lines) + "\n")
        mirror.entry = _SHARDS
    return mirror
