"""Check the index of an MP4 or MOV file before FFmpeg loads it, and refuse one that claims too much.

A few bytes of such an index can claim billions of samples, and FFmpeg makes an entry in memory for each.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from avbench.errors import MediaError
from avbench.media.limits import Limits

# Boxes that hold boxes. FFmpeg looks for each of them anywhere, so their order is not checked.
_FOLDERS = {b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"moof", b"traf"}
_MOST_DEPTH = 8
_MOST_ENTRIES = 10_000_000
"""Entries of one track's index after edit lists have repeated samples; each takes 36 bytes of memory."""

_BYTES_SLACK = 1 << 16
_MOST_BOXES = 1_000_000


@dataclass
class _Track:
    """Claims of one track: kind, samples, their bytes, edits, and whether each sample lasts one tick."""

    kind: bytes = b""
    samples: int = 0
    nbytes: int = 0
    edits: int = 0
    one_tick: bool = False

    @property
    def entries(self) -> int:
        """Index entries that FFmpeg makes at least; PCM samples of one tick share one by the thousand."""
        return self.samples // 1024 if self.kind == b"soun" and self.one_tick else self.samples


def check_index(file: BinaryIO, limits: Limits) -> None:
    """Refuse an MP4 or MOV file whose index claims too much; other files pass.

    Raises:
        MediaError: more tracks, samples or bytes than the limits allow, or a compressed index.
    """
    size = os.fstat(file.fileno()).st_size
    tracks: list[_Track] = []
    fragment = _Track()
    for number, (name, start, end) in enumerate(_boxes(file, 0, size, 0)):
        if number == _MOST_BOXES:
            raise MediaError(f"the file has more than {_MOST_BOXES} boxes; write it anew")
        if name == b"cmov":
            raise MediaError("the index is compressed (cmov), which is not read; write the file anew")
        if name == b"trak":
            tracks.append(_Track())
            limits.check("tracks", len(tracks), "the file has more tracks")
        elif name == b"trun":
            fragment.samples += _number(file, start + 4)
        elif tracks:
            _take(tracks[-1], name, file, start, end)
    limits.check("frames", fragment.samples / 10, f"the fragments claim {fragment.samples} samples")
    for track in tracks:
        _check_track(track, size, limits)


def _check_track(track: _Track, size: int, limits: Limits) -> None:
    allowed = 1 if track.kind == b"vide" else 10
    limits.check("frames", track.entries / allowed, f"the index claims {track.samples} samples of one track")
    limits.check(
        "packet_ratio",
        max(0, track.nbytes - _BYTES_SLACK) / size,
        f"the index claims {track.nbytes} bytes for one track, the file has {size}",
    )
    if track.entries * track.edits > _MOST_ENTRIES:
        raise MediaError(f"the index claims {track.edits} edits of {track.samples} samples; write the file anew")


def _boxes(file: BinaryIO, start: int, end: int, depth: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the content of every box, folders before what they hold; ends where the boxes do."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        length, name, header = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1 and len(head) == 16:
            length, header = int.from_bytes(head[8:], "big"), 16
        elif length == 0:
            length = end - start
        if length < header:
            return
        stop = min(start + length, end)
        yield name, start + header, stop
        if name in _FOLDERS and depth < _MOST_DEPTH:
            yield from _boxes(file, start + header, stop, depth + 1)
        start += length


def _take(track: _Track, name: bytes, file: BinaryIO, start: int, end: int) -> None:
    """Note what a box says about its track."""
    if name == b"hdlr" and not track.kind:
        file.seek(start + 8)
        track.kind = file.read(4)
    elif name == b"elst":
        track.edits = max(track.edits, _number(file, start + 4))
    elif name == b"stts":
        track.one_tick = _number(file, start + 4) == 1 and _number(file, start + 12) == 1
    elif name == b"stsz":
        each, count = _number(file, start + 4), _number(file, start + 8)
        # FFmpeg stops reading sizes where the box or the file ends.
        listed = min(count, max(0, end - start - 12) // 4)
        track.samples = max(track.samples, count if each else listed)
        track.nbytes = max(track.nbytes, each * count if each else _sum(file, start + 12, listed))
    elif name == b"stz2":
        track.samples = max(track.samples, min(_number(file, start + 8), 2 * (end - start)))


def _number(file: BinaryIO, position: int) -> int:
    """The unsigned 32-bit number at this position; 0 beyond the end."""
    file.seek(position)
    raw = file.read(4)
    return int(struct.unpack(">I", raw)[0]) if len(raw) == 4 else 0


def _sum(file: BinaryIO, position: int, count: int) -> int:
    file.seek(position)
    raw = file.read(4 * count)
    return int(np.frombuffer(raw, dtype=">u4", count=len(raw) // 4).sum(dtype=np.uint64))
