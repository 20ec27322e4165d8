"""Check that a track is as long as its file states."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from avbench.media.info import AudioInfo, VideoInfo
from avbench.media.packets import Packets
from avbench.media.stated_size import container_path, container_size, is_cut
from avbench.media.unfinished import ends_early

# A track that lasts less than this fraction of what its file states was cut off.
_COMPLETE_FRACTION = 0.9
_COMPLETE_SLACK_S = 0.15
# Where bytes are missing without doubt, a frame or the padding of a sound codec is left to explain a difference: an AVI
# with MP3 states 5.11 s for 5.04 s.
_CUT_FRACTION = 0.05
_CUT_SLACK_S = (0.05, 0.15)
# Containers whose sound is as long as its bytes say, to the sample.
_EXACT = frozenset({"wav", "w64"})
# Containers that state the length of each track. FFmpeg estimates it for MP3, ADTS, MPEG-TS and others from the bit
# rate or from the timestamps at hand: that promises nothing.
_STATE_TRACKS = frozenset({"mov", "flac", "aiff", "ivf"})
# Containers that state their size. Their lengths count only where bytes are missing: a whole file may end early.
_STATE_SIZE = frozenset({"matroska", "avi", "flv", "asf", "wav", "w64", "mp3"})
# In IVF files that were written as a stream.
_NEVER_FILLED_IN = 0xFFFFFFFF


def too_short(
    info: VideoInfo | AudioInfo | None,
    stream: VideoStream | AudioStream,
    packets: dict[int, Packets],
    asked: float | None = None,
) -> str | None:
    """Why a track counts as cut off: it ends well before the length that its file states.

    Args:
        info: what was decoded; None where decoding failed, and the packets tell how far the track goes.
        stream: the track.
        packets: of all tracks that were read, by stream index.
        asked: seconds that were wanted; None for the whole track.

    Returns:
        A reason, or None when the track is whole or its file states no length.
    """
    start, seconds = _extent(info, packets[stream.index])
    promised = _stated_seconds(stream, packets, start, seconds)
    if promised is not None:
        promised = promised if asked is None else min(promised, asked)
        if seconds < promised - _allowance(stream, promised):
            return f"truncated: {seconds:.2f} s of {promised:.2f} s could be decoded; make the file again"
    if asked is not None and seconds >= asked:
        return None
    if reason := ends_early(container_path(stream.container), _formats(stream)):
        return f"truncated after {seconds:.2f} s: {reason}; make the file again"
    return None if promised is None else _lacks_packets(stream, len(packets[stream.index]))


def _lacks_packets(stream: VideoStream | AudioStream, count: int) -> str | None:
    """Why a track of a cut MP4 is not whole: its index lists more packets than there are.

    A whole file may list more than are read, which an edit list leaves out. Uncompressed sound is listed by samples.
    """
    is_listed = "mov" in _formats(stream) and not stream.codec_context.name.startswith("pcm_")
    if not is_listed or count >= stream.frames or not is_cut(stream.container):
        return None
    return f"truncated: {count} of {stream.frames} packets are there; make the file again"


def _extent(info: VideoInfo | AudioInfo | None, packets: Packets) -> tuple[float, float]:
    """Start and length of a track in seconds."""
    if info is None:
        starts = [float(packet.pts * packet.time_base) for packet in packets if packet.pts is not None]
        start = min(starts, default=0.0)
        return start, max(0.0, _latest_end([packets]) - start)
    return (info.start if isinstance(info, AudioInfo) else float(info.times[0])), info.duration


def _allowance(stream: VideoStream | AudioStream, promised: float) -> float:
    """Seconds that a whole track may lack."""
    formats = _formats(stream)
    if formats & _EXACT and isinstance(stream, AudioStream):
        return 0.5 / stream.rate
    if formats & {"aiff", "flac"}:
        return _CUT_SLACK_S[0]
    if formats & _STATE_SIZE or is_cut(stream.container):
        return _cut_allowance(promised) if isinstance(stream, VideoStream) else _CUT_SLACK_S[1]
    return (1 - _COMPLETE_FRACTION) * promised + _COMPLETE_SLACK_S


def _cut_allowance(promised: float) -> float:
    least, most = _CUT_SLACK_S
    return min(most, max(least, _CUT_FRACTION * promised))


def _formats(stream: VideoStream | AudioStream) -> set[str]:
    return set(stream.container.format.name.split(","))


def _stated_seconds(
    stream: VideoStream | AudioStream, packets: dict[int, Packets], start: float, seconds: float
) -> float | None:
    container = stream.container
    formats = _formats(stream)
    if formats & _STATE_TRACKS:
        return _track_seconds(stream)
    if not formats & _STATE_SIZE:
        return None
    size = container_size(container)
    if size is None or not size.is_cut:
        return None
    if formats & {"wav", "w64", "mp3"}:
        return seconds * size.stated / size.present if size.present > 0 else None
    if "avi" in formats:
        return float(stream.frames * stream.time_base) if stream.frames and stream.time_base else None
    end = _stated_end(stream, packets, tagged="matroska" in formats)
    return None if end is None else end - start


def _stated_end(stream: VideoStream | AudioStream, packets: dict[int, Packets], *, tagged: bool) -> float | None:
    """Seconds on the clip's timeline at which the track should end; None where another track explains the length."""
    container: Any = stream.container
    whole: float | None = container.duration / av.time_base if container.duration else None
    tag = next((text for name, text in stream.metadata.items() if name.upper().startswith("DURATION")), None)
    stated = _clock_seconds(tag) if tagged and tag is not None else None
    if stated is not None:
        return stated if whole is None else min(stated, whole)
    if whole is None or _latest_end(packets.values()) >= whole - _cut_allowance(whole):
        return None
    return whole


def _clock_seconds(text: str) -> float | None:
    """Seconds of a time such as 00:00:05.021000000."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)\0*", text)
    return None if match is None else int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def _latest_end(tracks: Iterable[Packets]) -> float:
    """Seconds at which the last packet of all tracks ends."""
    ends = [
        float((stamp + (packet.duration or 0)) * packet.time_base)
        for track in tracks
        for packet in track
        if (stamp := packet.pts if packet.pts is not None else packet.dts) is not None
    ]
    return max(ends, default=0.0)


def _track_seconds(stream: VideoStream | AudioStream) -> float | None:
    if stream.duration and stream.time_base and stream.duration != _NEVER_FILLED_IN:
        return float(stream.duration * stream.time_base)
    container: Any = stream.container
    if container.duration and len(container.streams) == 1:
        return float(container.duration / av.time_base)
    return None
