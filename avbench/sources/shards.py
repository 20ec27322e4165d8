"""WebDataset tar shards: members are found by their headers, and each is read where it lies in the archive."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from avbench.clips import RemoteFile
from avbench.errors import AvbenchError, UsageError
from avbench.remote.addresses import shown
from avbench.remote.fetch import read_part
from avbench.sources.columns import CLIP_ID, GENERATED_AUDIO, GENERATED_VIDEO, PLAIN_AUDIO, PLAIN_VIDEO, TEXT
from avbench.sources.suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES

_MOST_SHARDS = 100_000
_MOST_TEXT = 2**20
_BUFFER = 4096
_RANGE = re.compile(r"\{([0-9]+)\.\.([0-9]+)\}")
_TEXTS = (".txt", ".json")
_FILE_COLUMNS = frozenset((*CLIP_ID, *GENERATED_AUDIO, *GENERATED_VIDEO, *PLAIN_AUDIO, *PLAIN_VIDEO))


@dataclass
class Shards:
    """What tar shards hold: media by path (`shard.tar/member`), and a row of a manifest for each video.

    `has_texts` says whether a sample brings texts.
    """

    files: dict[str, RemoteFile]
    rows: list[dict[str, object]]
    has_texts: bool


def expand(url: str) -> list[str]:
    """The shards that an address with one `{000..012}` names; itself without.

    Raises:
        UsageError: the range is empty or too long.
    """
    if (span := _RANGE.search(url)) is None:
        return [url]
    first, last = span[1], span[2]
    count = int(last) - int(first) + 1
    if not 0 < count <= _MOST_SHARDS:
        raise UsageError(f"{shown(url)}: {span[0]} names {max(count, 0)} shards; expected 1 to {_MOST_SHARDS:,}.")
    numbers = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
    return [f"{url[: span.start()]}{number}{url[span.end() :]}" for number in numbers]


def index_shards(shards: dict[str, RemoteFile], folder: Path) -> Shards:
    """Look through tar archives; only headers and small texts are read.

    Args:
        shards: archives by name.
        folder: for what is read, meanwhile.

    Raises:
        UsageError: one cannot be read as a tar archive, or holds a malformed JSON file.
    """
    result = Shards({}, [], False)
    for name, shard in shards.items():
        try:
            for members in _samples(shard, folder):
                _add_sample(result, name, members, shard, folder)
        except (tarfile.TarError, AvbenchError) as error:
            raise UsageError(f"{shown(shard.url)}: it cannot be read as a tar archive ({error}).") from error
    return result


def _samples(shard: RemoteFile, folder: Path) -> Iterator[dict[str, RemoteFile]]:
    """Members of each sample: those whose paths are equal up to the first dot of the name."""
    samples: dict[str, dict[str, RemoteFile]] = {}
    with tarfile.open(fileobj=_Ranges(shard, folder), mode="r:") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
            path = PurePosixPath(member.name)
            if not member.isreg() or path.is_absolute() or ".." in path.parts or path.name.startswith("."):
                continue
            key = str(path.with_name(path.name.partition(".")[0]))
            part = replace(shard, start=member.offset_data, size=member.size)
            samples.setdefault(key, {})[path.as_posix()] = part
    yield from samples.values()


def _add_sample(result: Shards, shard: str, members: dict[str, RemoteFile], archive: RemoteFile, folder: Path) -> None:
    videos = [name for name in members if name.lower().endswith(VIDEO_SUFFIXES)]
    sounds = [name for name in members if name.lower().endswith(AUDIO_SUFFIXES)]
    row: dict[str, object] = {}
    for name, part in members.items() if videos else ():
        if PurePosixPath(name).suffix.lower() in _TEXTS:
            row |= _texts(name, read_part(archive, part.start, min(part.size or 0, _MOST_TEXT), folder))
    result.files |= {f"{shard}/{name}": members[name] for name in (*videos, *sounds)}
    result.has_texts = result.has_texts or bool(row)
    result.rows += [{**row, "video": f"{shard}/{name}"} for name in videos]


def _texts(name: str, content: bytes) -> dict[str, object]:
    """Cells of a manifest from a text or JSON file of a sample; those that name files are left out.

    Raises:
        UsageError: malformed.
    """
    try:
        text = content.decode()
        if not name.lower().endswith(".json"):
            return {"text": text.strip()}
        values = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{name}: expected a JSON object")
    cells = {key.lower().replace("-", "_"): value for key, value in values.items()}
    # One name for the prompt, as samples of one archive may bring it in different ways.
    joint = [value for name in TEXT if (value := cells.pop(name, None))]
    named = {"text": joint[0]} if joint else {}
    return {name: value for name, value in cells.items() if name not in _FILE_COLUMNS} | named


class _Ranges(io.RawIOBase):
    """A remote archive as a file that can be sought in: what is skipped is not read."""

    def __init__(self, file: RemoteFile, folder: Path) -> None:
        self._file, self._folder = file, folder
        self._position, self._start, self._buffer = 0, 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of a remote archive is not looked for")
        self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        return self._position

    def read(self, size: int = -1) -> bytes:
        end = self._position + size
        if not self._start <= self._position <= end <= self._start + len(self._buffer):
            self._start, self._buffer = self._position, self._part(self._position, max(size, _BUFFER))
        data = self._buffer[self._position - self._start : end - self._start]
        self._position += len(data)
        return data

    def _part(self, start: int, size: int) -> bytes:
        known = self._file.size
        size = size if known is None else max(0, min(size, known - start))
        return read_part(self._file, start, size, self._folder) if size else b""
