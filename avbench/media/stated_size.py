"""Detect truncated media files: the size that a file's headers state, against its size on disk."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import av

# Writers that cannot go back to the header leave 0, or a size near 2 or 4 GiB.
_OPEN_ENDED = 0x7FF00000
_LONGEST = 1 << 60
_HEAD_BYTES = 65_536
_MOST_CHUNKS = 256
# The boxes with which an MP4 or MOV begins.
_MOV_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FLV_FILE_SIZE = b"\x00\x08filesize\x00"


@dataclass(frozen=True)
class StatedSize:
    """Bytes of a file, or of the part of it that holds the media."""

    stated: int
    present: int

    @property
    def is_cut(self) -> bool:
        """Whether the file ends before it says."""
        return self.present < self.stated


def stated_size(path: Path) -> StatedSize | None:
    """What AVI, WAV, W64, Matroska, MP4, FLV, ASF and MP3 files say in their headers; None where they do not."""
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(16)
        usual = _mov if magic[4:8] in _MOV_BOXES else _mp3
        read = next((read for start, read in _READERS.items() if magic.startswith(start)), usual)
        stated = read(file, size)
    return stated if stated is not None and stated.stated > 0 else None


def container_size(container: av.container.Container) -> StatedSize | None:
    """`stated_size` of the file that a container was opened from."""
    return stated_size(container_path(container))


def container_path(container: av.container.Container) -> Path:
    """The file that a container was opened from."""
    return Path(container.name.removeprefix("file:"))


def is_cut(container: av.container.Container) -> bool:
    """Whether a file states its size and is smaller."""
    size = container_size(container)
    return size is not None and size.is_cut


def _riff(file: IO[bytes], size: int) -> StatedSize | None:
    head = _at(file, 0, 12)
    if head[8:12] == b"AVI ":
        return _closed(StatedSize(8 + _little(head[4:8]), size))
    position, long_size = 12, 0
    for _ in range(_MOST_CHUNKS):
        chunk = _at(file, position, 24)
        kind, length = chunk[:4], _little(chunk[4:8])
        if len(chunk) < 8:
            return None
        if kind == b"ds64":
            long_size = _little(chunk[16:24])
        if kind == b"data":
            present = size - position - 8
            return StatedSize(long_size, present) if long_size else _closed(StatedSize(length, present))
        position += 8 + length + length % 2
    return None


def _closed(size: StatedSize) -> StatedSize | None:
    return size if size.stated < _OPEN_ENDED else None


def _w64(file: IO[bytes], size: int) -> StatedSize | None:
    position = 40
    for _ in range(_MOST_CHUNKS):
        chunk = _at(file, position, 24)
        length = _little(chunk[16:24])
        if len(chunk) < 24:
            return None
        if chunk[:16] == _W64_DATA:
            return StatedSize(length - 24, size - position - 24)
        position = min(size, position + max(24, length + -length % 8))
    return None


def _matroska(file: IO[bytes], size: int) -> StatedSize | None:
    head = _at(file, 0, _HEAD_BYTES)
    header = _vint(head[4:12])
    start = 4 + header[1] + (header[0] or 0)
    if head[start : start + 4] != _SEGMENT:
        return None
    length, width = _vint(head[start + 4 : start + 12])
    return None if length is None else StatedSize(length, size - start - 4 - width)


def _mov(file: IO[bytes], size: int) -> StatedSize | None:
    """The end of the first box with media that ends beyond the file, or of the last box."""
    position = 0
    for _ in range(_MOST_CHUNKS):
        box = _at(file, position, 16)
        length = int.from_bytes(box[:4], "big")
        if length == 1:
            length = int.from_bytes(box[8:16], "big")
        if length < 8:
            return None
        position += length
        if position >= size:
            return StatedSize(position, size) if box[4:8] == b"mdat" or position == size else None
    return None


def _vint(data: bytes) -> tuple[int | None, int]:
    """Value of an EBML length (None: unknown) and how many bytes it takes."""
    width = 9 - data[0].bit_length() if data and data[0] else 8
    bits = 7 * width
    value = int.from_bytes(data[:width], "big") & ((1 << bits) - 1)
    return (None if value == (1 << bits) - 1 else value), width


def _flv(file: IO[bytes], size: int) -> StatedSize | None:
    head = _at(file, 0, _HEAD_BYTES)
    at = head.find(_FLV_FILE_SIZE)
    if at < 0:
        return None
    number = struct.unpack(">d", head[at + len(_FLV_FILE_SIZE) :][:8].ljust(8, b"\0"))[0]
    return StatedSize(int(number), size) if 0 < number < _LONGEST else None


def _asf(file: IO[bytes], size: int) -> StatedSize | None:
    head = _at(file, 0, _HEAD_BYTES)
    at = head.find(_ASF_FILE_PROPERTIES)
    return StatedSize(_little(head[at + 40 : at + 48]), size) if at >= 0 else None


def _mp3(file: IO[bytes], size: int) -> StatedSize | None:
    """The size in a Xing, Info or VBRI header, which stands in the first frame after any ID3 tag."""
    start, tag = 0, _at(file, 0, 10)
    if tag[:3] == b"ID3" and len(tag) == 10:
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    frame = _at(file, start, 64)
    if frame[:1] != b"\xff":
        return None
    if frame[36:40] == b"VBRI":
        return StatedSize(int.from_bytes(frame[46:50], "big"), size - start)
    # Behind the side information, whose size depends on MPEG version and channels.
    at = next((at for at in (36, 21, 13) if frame[at : at + 4] in (b"Xing", b"Info")), None)
    if at is None:
        return None
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    field = at + 8 + (4 if flags & 1 else 0)
    return StatedSize(int.from_bytes(frame[field : field + 4], "big"), size - start) if flags & 2 else None


def _at(file: IO[bytes], position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


_READERS: dict[bytes, Callable[[IO[bytes], int], StatedSize | None]] = {
    b"RIFF": _riff,
    b"RF64": _riff,
    _W64_RIFF: _w64,
    _EBML: _matroska,
    b"FLV": _flv,
    bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"): _asf,
}
