"""Recognise files that are neither video nor audio by their first bytes."""

from __future__ import annotations

import re

HEAD_BYTES = 512
"""How much of a file `foreign_kind` wants to see."""

_LFS = "a Git LFS pointer, not the file itself: fetch it with 'git lfs pull'"
_IMAGES = (
    (re.compile(rb"GIF8[79]a"), "GIF"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"\xff\xd8\xff"), "JPEG"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WebP"),
    (re.compile(rb"BM....\0\0\0\0", re.DOTALL), "BMP"),
    (re.compile(rb"II\*\0|MM\0\*"), "TIFF"),
    (re.compile(rb"....ftyp(avif|avis)", re.DOTALL), "AVIF"),
    (re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL), "HEIC"),
)
_OTHERS = (
    (re.compile(rb"version https://(git-lfs\.github\.com|hawser\.github\.com)/spec/"), _LFS),
    (re.compile(rb"\s*<(!doctype html|html|head|body)\b", re.IGNORECASE), "an HTML page, perhaps of a failed download"),
    (re.compile(rb"\s*(#EXTM3U|ffconcat version|<MPD\b)"), "a playlist; give the media file itself"),
    (re.compile(rb"\s*<\?xml\b|\s*<(Error|svg)\b"), "an XML document, perhaps a playlist or a failed download"),
    (re.compile(rb'\s*(\{\s*("|\})|\[\s*(["\[{\]\d]|$))'), "a JSON document, perhaps of a failed download"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive; unpack it"),
    (re.compile(rb"\x1f\x8b"), "a gzip file; unpack it"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\xfd7zXZ\0"), "an archive; unpack it"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive; unpack it"),
    (re.compile(rb"%PDF-"), "a PDF document"),
    (re.compile(rb"\x93NUMPY"), "a NumPy array"),
)
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e]{16,}")


def foreign_kind(head: bytes) -> str | None:
    """The kind of a file that begins like this, as the reason for a clip; None for what may be video or audio.

    Args:
        head: the first bytes.
    """
    for pattern, name in _IMAGES:
        if pattern.match(head):
            return f"{name} files are not read; convert the clip to MP4 or WebM"
    head = head.removeprefix(b"\xef\xbb\xbf")
    for pattern, kind in _OTHERS:
        if pattern.match(head):
            return f"not a media file but {kind}"
    return None


def is_text(head: bytes) -> bool:
    """Whether the first bytes are plain text."""
    return _TEXT.fullmatch(head) is not None
