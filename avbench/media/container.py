"""Open a local media file with FFmpeg and choose its tracks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from avbench.errors import MediaError
from avbench.media.boxes import check_index
from avbench.media.faults import reason_of
from avbench.media.kinds import HEAD_BYTES, foreign_kind, is_text
from avbench.media.limits import Limits
from avbench.media.pyav import open_input

# Containers of ordinary media files. Playlists (HLS, DASH, concat) are left out because they make FFmpeg
# open other files or addresses that the clip names.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,asf,ogg,"
    "wav,w64,flac,mp3,aac,aiff,h264,hevc,ivf"
)
# Formats without a header that states a length: FFmpeg divides the size of the file by a bit rate.
_ESTIMATED = {"mp3", "aac", "h264", "hevc", "mpegvideo", "mpeg"}

_PIXELS_SLACK = 4
_MOST_PIXELS, _MOST_TRACKS = 2**31 - 1, 10_000  # of FFmpeg's options

# How MP4 and QuickTime label samples of these codecs. FFmpeg decodes a track of any other label as well if a descriptor
# inside it claims the codec; players go by the label and refuse the track.
_LABELS = {
    "aac": {"mp4a", "enca"},
    "mp3": {"mp4a", "enca", ".mp3", "mp3 ", "ms\0U"},
    "mpeg4": {"mp4v", "encv", "XVID", "DIVX", "DX50", "FMP4", "M4S2", "MP4S", "3IV1", "3IV2"},
}

NO_TRACKS = "the file holds neither video nor audio; its index may be damaged"

_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}


def open_media(path: Path, limits: Limits) -> av.container.InputContainer:
    """Open a local media file.

    Raises:
        MediaError: missing, empty, not a regular file, no media, or more than the limits allow. Without the path, so
            that equal reasons are counted together.
    """
    head = _first_bytes(path, limits)
    try:
        # "file:" keeps FFmpeg from reading a protocol out of a file name such as "concat:a.mp4".
        container = open_input(f"file:{path.absolute()}", _container_options(limits), _probe_options(limits))
    except MemoryError as error:  # what FFmpeg says of too many tracks, too
        raise MediaError(f"over the limit tracks={limits.tracks:.0f}: more tracks, or out of memory") from error
    except (av.FFmpegError, ValueError, OSError) as error:
        text = "text, " if is_text(head) else ""
        raise MediaError(f"not a readable media file ({text}{reason_of(error)})") from error
    try:
        limits.check("tracks", len(container.streams), "the file has more tracks")
    except MediaError:
        container.close()
        raise
    return container


def _first_bytes(path: Path, limits: Limits) -> bytes:
    if not path.exists():
        raise MediaError("file not found")
    if not path.is_file():
        raise MediaError("not a regular file")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if not head:
            raise MediaError("the file is empty (0 bytes)")
        if kind := foreign_kind(head):
            raise MediaError(kind)
        check_index(file, limits)
    return head


def _container_options(limits: Limits) -> dict[str, str]:
    return _OPTIONS | {"max_streams": f"{min(limits.tracks, _MOST_TRACKS) + 1:.0f}"}


def _probe_options(limits: Limits) -> dict[str, str]:
    # FFmpeg decodes a few frames to learn what a header leaves out. What it refuses it reports as 0x0, so frames that
    # are somewhat too large are let through here and refused by name.
    return {"max_pixels": f"{min(limits.pixels * _PIXELS_SLACK, _MOST_PIXELS):.0f}"}


def decoder_options(limits: Limits) -> dict[str, str]:
    """The decoder's own bound: a frame that outgrows its header is refused before memory is taken."""
    return {"max_pixels": f"{min(limits.pixels, _MOST_PIXELS):.0f}"}


def first_video(container: av.container.InputContainer) -> VideoStream | None:
    """The first video track, None without one."""
    # An attached picture (cover art) is a video stream to FFmpeg and not a clip.
    attached = av.stream.Disposition.attached_pic
    return next((s for s in container.streams.video if not s.disposition & attached), None)


def first_audio(container: av.container.InputContainer) -> AudioStream | None:
    """The first sound track, None without one."""
    return next(iter(container.streams.audio), None)


def track_problem(
    stream: VideoStream | AudioStream, container: av.container.InputContainer, limits: Limits
) -> str | None:
    """Why a track cannot be decoded, judged by its header: unknown codec, or more than the limits allow."""
    if getattr(stream, "codec_context", None) is None:
        return f"no decoder for this {stream.type} codec: {_codec_name(stream, container)}"
    context = stream.codec_context
    labels = _LABELS.get(context.codec.canonical_name)
    if labels and "mp4" in container.format.name and context.codec_tag not in labels:
        return f"no decoder for this {stream.type} codec: its label {context.codec_tag!a} is none of {context.name}"
    try:
        _check_header(stream, container, limits)
    except MediaError as error:
        return str(error)
    return None


def _check_header(stream: VideoStream | AudioStream, container: av.container.InputContainer, limits: Limits) -> None:
    if isinstance(stream, VideoStream):
        width, height = stream.codec_context.width, stream.codec_context.height
        limits.check("pixels", width * height, f"the video is {width}x{height}")
        limits.check("frames", stream.frames, f"the header states {stream.frames} frames")
    else:
        check_audio(stream.codec_context.sample_rate, stream.codec_context.layout.nb_channels, limits)
    if stream.duration and stream.time_base and container.format.name not in _ESTIMATED:
        seconds = float(stream.duration * stream.time_base)
        limits.check("seconds", seconds, f"the header states {seconds:.0f} s of {stream.type}")


def check_audio(rate: int, channels: int, limits: Limits) -> None:
    """Refuse audio of an absurd rate or number of channels.

    Raises:
        OverLimitError: it is one.
    """
    limits.check("sample_rate", rate, f"the audio has {rate} samples per second")
    limits.check("channels", channels, f"the audio has {channels} channels")


def _codec_name(stream: VideoStream | AudioStream, container: Any) -> str:
    """The codec as FFmpeg prints it, such as "none (zzzz / 0x7A7A7A7A)"; PyAV has no other way to ask."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        printed = container.dumps_format()
    finally:
        av.logging.set_level(before)
    line = re.search(rf"Stream #\d+:{stream.index}\b.*?: (?:Video|Audio): ([^,\n]+)", printed)
    return line[1].strip().replace("none (", "unknown (") if line else "unknown"
