"""Open a local media file with FFmpeg, choose its tracks, and read its packets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from avbench.errors import MediaError
from avbench.media.pyav import open_input

# Containers of ordinary media files. Playlists (HLS, DASH, concat) are left out because they make FFmpeg
# open other files or addresses that the clip names.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,asf,ogg,"
    "wav,w64,flac,mp3,aac,aiff,h264,hevc,ivf"
)

Packets: TypeAlias = "list[Packet[Any]]"  # Packet is generic in its stubs only

_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}


def open_media(path: Path) -> av.container.InputContainer:
    """Open a local media file.

    Raises:
        MediaError: missing, empty, not a regular file, or no media.
    """
    if not path.exists():
        raise MediaError(f"{path}: file not found")
    if not path.is_file():
        raise MediaError(f"{path}: not a regular file")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty (0 bytes)")
    try:
        # "file:" keeps FFmpeg from reading a protocol out of a file name such as "concat:a.mp4".
        return open_input(f"file:{path.absolute()}", _OPTIONS)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(f"{path}: not a readable media file ({short_reason(error)})") from error


def short_reason(error: BaseException) -> str:
    """What FFmpeg says, or type and message."""
    if isinstance(error, av.FFmpegError) and error.strerror:
        return str(error.strerror)
    return f"{type(error).__name__}: {error}"


def first_video(container: av.container.InputContainer) -> VideoStream | None:
    """The first picture track, None without one."""
    # An attached picture (cover art) is a video stream to FFmpeg and not a clip.
    attached = av.stream.Disposition.attached_pic
    return next((s for s in container.streams.video if not s.disposition & attached), None)


def first_audio(container: av.container.InputContainer) -> AudioStream | None:
    """The first sound track, None without one."""
    return next(iter(container.streams.audio), None)


def demux(container: av.container.InputContainer, streams: Sequence[VideoStream | AudioStream]) -> dict[int, Packets]:
    """All packets by stream index: compressed data, so a few megabytes for a clip."""
    packets: dict[int, Packets] = {stream.index: [] for stream in streams}
    if not streams:
        return packets
    try:
        for packet in container.demux(*streams):
            if packet.size:
                packets[packet.stream.index].append(packet)
    except (av.FFmpegError, OSError):
        # The file ends in the middle; what is missing shows in the length check of each track.
        pass
    return packets
