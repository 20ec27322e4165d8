"""Recognise video and audio files by suffix; only `.ts` and `.mts` are looked into."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

# What the containers that `avbench.media.container` opens are called on disk.
VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"),
    *(".3g2", ".3gp", ".f4v", ".mj2", ".mk3d", ".qt"),
    *(".asf", ".divx", ".flv", ".ogm", ".ogv", ".wmv"),
    *(".m1v", ".m2v", ".mpe", ".mpeg", ".mpg", ".vob"),
    *(".m2t", ".m2ts", ".mts", ".ts"),
    *(".264", ".265", ".h264", ".h265", ".hevc", ".ivf"),
)
# In order of preference where a clip has several.
AUDIO_SUFFIXES = (".wav", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".aac")
# Moving images that are not read. A folder that holds some says so.
OTHER_VIDEO_SUFFIXES = (
    *(".gif", ".apng", ".y4m", ".yuv", ".nut", ".mxf", ".gxf", ".dv", ".obu"),
    *(".rm", ".rmvb", ".swf", ".amv", ".wtv", ".dvr-ms", ".nsv", ".bik", ".smk", ".flc", ".fli"),
    *(".m3u8", ".mpd"),
)

_MEDIA_SUFFIXES = (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES, *OTHER_VIDEO_SUFFIXES)
_SHARED_WITH_TYPESCRIPT = (".ts", ".mts")
_HEAD_BYTES = 512


def is_program(path: Path) -> bool:
    """Whether a file with a suffix that MPEG-TS and TypeScript share holds text."""
    return path.suffix.lower() in _SHARED_WITH_TYPESCRIPT and _is_text(path)


def without_suffix(name: str) -> str:
    """The path `name` without the suffix of a video or a sound, if it has one."""
    # Most names have none, and a path costs ten times as much as a look at its end.
    if not name.lower().endswith(_MEDIA_SUFFIXES):
        return name
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in _MEDIA_SUFFIXES else name


def _is_text(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    # The last bytes may be the first half of a character.
    text = head.decode("utf-8", "replace").rstrip("\N{REPLACEMENT CHARACTER}")
    return bool(text) and "\N{REPLACEMENT CHARACTER}" not in text and all(c.isprintable() or c.isspace() for c in text)
