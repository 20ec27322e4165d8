"""Detect cut files of containers without a length: those that end within a packet, or without the mark of the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

# Longer than four packets of MPEG-TS, a pack of MPEG-PS and the longest page of Ogg.
_TAIL_BYTES = 131_072
# Bytes from one packet of MPEG-TS to the next, and from its first byte to its end: plain, with time codes, with parity.
_TS_PACKETS = ((188, 188), (192, 188), (204, 204))
_TS_SYNC, _FEWEST_PACKETS = 0x47, 4
_PACK, _START_CODE, _END_CODE = b"\x00\x00\x01\xba", b"\x00\x00\x01", 0xB9
_OGG_PAGE, _OGG_HEADER, _OGG_LAST_PAGE = b"OggS", 27, 4
_IVF_FRAME_HEADER, _MOST_FRAMES = 12, 500_000


def ends_early(path: Path, formats: set[str]) -> str | None:
    """Why a file is not whole although its header states no length; None where nothing tells.

    Args:
        path: the file.
        formats: FFmpeg's names of its container.
    """
    check = next((check for name, check in _CHECKS.items() if name in formats), None)
    return check(path) if check is not None else None


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read(_TAIL_BYTES)


def _mpegts(path: Path) -> str | None:
    """Packets have one size, so the last one is whole or cut; what follows the last packet is not looked at."""
    tail = _tail(path)
    for step, length in _TS_PACKETS:
        for start in range(len(tail) - 1, max(-1, len(tail) - 1 - step), -1):
            syncs = tail[start::-step][:_FEWEST_PACKETS]
            if syncs == bytes([_TS_SYNC]) * _FEWEST_PACKETS:
                return None if len(tail) - start == length else "the file ends within a packet"
    return None


def _mpegps(path: Path) -> str | None:
    """From the last pack on, each packet states its length."""
    tail = _tail(path)
    start = tail.rfind(_PACK)
    if start < 0:
        return None
    head = tail[start : start + 14]
    is_second = head[4:5] >= b"\x40"  # MPEG-2: 14 bytes and stuffing; MPEG-1: 12 bytes
    position = start + (14 + (head[13] & 7) if is_second and len(head) == 14 else 12)
    while tail[position : position + 3] == _START_CODE and tail[position + 3 : position + 4] != bytes([_END_CODE]):
        position += 6 + int.from_bytes(tail[position + 4 : position + 6], "big")
    return "the file ends within a packet" if position > len(tail) else None


def _ogg(path: Path) -> str | None:
    """Each page states its length, and the last one of a track is marked."""
    tail = _tail(path)
    start = tail.rfind(_OGG_PAGE)
    head = tail[start : start + _OGG_HEADER]
    if start < 0:
        return None
    lengths = tail[start + _OGG_HEADER :][: head[-1]] if len(head) == _OGG_HEADER else b""
    if len(head) < _OGG_HEADER or len(lengths) < head[-1]:
        return "the file ends within a page"
    end = start + _OGG_HEADER + len(lengths) + sum(lengths)
    if end > len(tail) or (end < len(tail) and _OGG_PAGE.startswith(tail[end:])):
        return "the file ends within a page"
    return None if head[5] & _OGG_LAST_PAGE else "its last page is not marked as the last one"


def _ivf(path: Path) -> str | None:
    """Each frame states its length."""
    size = path.stat().st_size
    with path.open("rb") as file:
        position = int.from_bytes(file.read(8)[6:], "little")
        for _ in range(_MOST_FRAMES):
            if position >= size:
                break
            file.seek(position)
            position += _IVF_FRAME_HEADER + int.from_bytes(file.read(_IVF_FRAME_HEADER)[:4], "little")
    return "the file ends within a frame" if position > size else None


_CHECKS: dict[str, Callable[[Path], str | None]] = {"mpegts": _mpegts, "mpeg": _mpegps, "ogg": _ogg, "ivf": _ivf}
