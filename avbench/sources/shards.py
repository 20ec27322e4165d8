"""WebDataset tar shards: members are found by their headers, and each is read where it lies in the archive."""

from __future__ import annotations

import io
import json
import re
import tarfile
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

from avbench.clips import RemoteFile
from avbench.errors import MediaError, UsageError
from avbench.remote.addresses import WEB, scheme_of, shown
from avbench.remote.base import REPLACED
from avbench.remote.fetch import current_identity, ending, read_part
from avbench.sources.columns import CLIP_ID, GENERATED_AUDIO, GENERATED_VIDEO, PLAIN_AUDIO, PLAIN_VIDEO, TEXT
from avbench.sources.suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from avbench.threads import map_in_threads

_MOST_SHARDS = 100_000
_MOST_TEXT = 2**20
_THREADS = 16
# A header, the texts of a sample and the next header are mostly in one range of so many bytes.
_AHEAD = 2**14
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
    """Look through tar archives, several at a time; only headers and small texts are read.

    Args:
        shards: archives by name.
        folder: for what is read, meanwhile.

    Raises:
        UsageError: one cannot be read as a tar archive, or holds a malformed JSON file.
    """
    result = Shards({}, [], False)
    for name, samples in zip(
        shards, map_in_threads(partial(_samples, folder), [*shards.values()], _THREADS), strict=True
    ):
        for sample in samples:
            _add_sample(result, name, sample)
    return result


@dataclass
class _Sample:
    """Files of an archive whose paths are equal up to the first dot of the name: media by path, and texts."""

    media: dict[str, RemoteFile] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)


def _samples(folder: Path, shard: RemoteFile) -> list[_Sample]:
    samples: dict[str, _Sample] = {}
    file = _Ranges(shard, folder)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
                path = PurePosixPath(member.name)
                if not member.isreg() or path.is_absolute() or ".." in path.parts or path.name.startswith("."):
                    continue
                sample = samples.setdefault(str(path.with_name(path.name.partition(".")[0])), _Sample())
                if path.suffix.lower() in _TEXTS:  # now, as it mostly was read ahead with its header
                    sample.texts[path.as_posix()] = file.read_at(member.offset_data, min(member.size, _MOST_TEXT))
                elif path.suffix.lower() in (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES):
                    part = replace(shard, start=member.offset_data, size=member.size, identity=file.state)
                    sample.media[path.as_posix()] = part
        file.require_unchanged()
    except MediaError as error:
        raise ending(f"{shown(shard.url)}:", error) from error
    except tarfile.TarError as error:
        raise UsageError(f"{shown(shard.url)}: it cannot be read as a tar archive ({error}).") from error
    return list(samples.values())


def _add_sample(result: Shards, shard: str, sample: _Sample) -> None:
    videos = [name for name in sample.media if name.lower().endswith(VIDEO_SUFFIXES)]
    sounds = [name for name in sample.media if name.lower().endswith(AUDIO_SUFFIXES)]
    row: dict[str, object] = {}
    for name, content in sample.texts.items() if videos else ():
        row |= _texts(f"{shard}/{name}", content)
    result.files |= {f"{shard}/{name}": sample.media[name] for name in (*videos, *sounds)}
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
    """A remote archive as a file that can be sought in: what is skipped is not read.

    `state` tells which state of the archive is read; empty if unknown.
    """

    def __init__(self, file: RemoteFile, folder: Path) -> None:
        self._file, self._folder = file, folder
        self._position, self._start, self._buffer = 0, 0, b""
        # A web server says with each range what it is of; a store is asked before and after.
        self.state = "" if self._is_web else current_identity(replace(file, identity=""))

    @property
    def _is_web(self) -> bool:
        return scheme_of(self._file.url) in WEB

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
        data = self.read_at(self._position, size)
        self._position += len(data)
        return data

    def read_at(self, start: int, size: int) -> bytes:
        """Bytes from `start` on; where the file stands stays as it is."""
        if not self._start <= start <= start + size <= self._start + len(self._buffer):
            self._start, self._buffer = start, self._part(start, max(size, _AHEAD))
        return self._buffer[start - self._start : start - self._start + size]

    def require_unchanged(self) -> None:
        """Refuse to have read ranges of two states.

        Raises:
            MediaError: the archive was replaced meanwhile.
        """
        if not self._is_web and self.state != current_identity(replace(self._file, identity="")):
            raise MediaError(REPLACED)

    def _part(self, start: int, size: int) -> bytes:
        known = self._file.size
        size = size if known is None else max(0, min(size, known - start))
        if not size:
            return b""
        content, state = read_part(self._file, start, size, self._folder)
        self.state = self.state or state
        if state and state != self.state:
            raise MediaError(REPLACED)
        return content
