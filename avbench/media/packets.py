"""Read the packets of chosen tracks and decode them, as far as the limits allow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from avbench.media.container import check_audio, decoder_options
from avbench.media.limits import Limits, OverLimitError
from avbench.media.meter import Meter

# Compressed data of a small file may outgrow it by what a demuxer adds to each packet.
_BYTES_SLACK = 1 << 16
_PACKETS_PER_FRAME = 10

Packets: TypeAlias = "list[Packet[Any]]"  # Packet is generic in its stubs only


@dataclass(frozen=True)
class Demuxed:
    """Packets by stream index, and the reasons of the tracks whose timestamps span too much."""

    packets: dict[int, Packets]
    refused: dict[int, str]


def demux(
    container: av.container.InputContainer, streams: Sequence[VideoStream | AudioStream], meter: Meter
) -> Demuxed:
    """All packets by stream index: compressed data, so a few megabytes for a clip.

    Raises:
        OverLimitError: too many packets, more bytes than the file can hold, or too slow.
    """
    packets: dict[int, Packets] = {stream.index: [] for stream in streams}
    refused: dict[int, str] = {}
    if not streams:
        return Demuxed(packets, refused)
    tallies = {stream.index: _Tally(stream, meter.limits) for stream in streams}
    size, nbytes = max(container.size, 1), -_BYTES_SLACK
    try:
        for packet in container.demux(*streams):
            if packet.size:
                nbytes += packet.size
                meter.limits.check("packet_ratio", nbytes / size, "its packets hold more bytes than the file")
                tallies[packet.stream.index].count()
                packets[packet.stream.index].append(packet)
                try:
                    tallies[packet.stream.index].place(packet)
                except OverLimitError as error:  # one damaged timestamp, which costs no other track
                    refused.setdefault(packet.stream.index, str(error))
            meter.check_time()
    except MemoryError:
        raise  # FFmpeg's own is one of its errors; half of the packets would pass as a whole clip
    except (av.FFmpegError, OSError):
        # The file ends in the middle; what is missing shows in the length check of each track.
        pass
    return Demuxed(packets, refused)


class _Tally:
    """Packets of one track so far."""

    def __init__(self, stream: VideoStream | AudioStream, limits: Limits) -> None:
        self._kind, self._limits = stream.type, limits
        self._allowed = 1 if isinstance(stream, VideoStream) else _PACKETS_PER_FRAME
        self._count = 0
        self._span = _Span(stream.type, limits)

    def count(self) -> None:
        self._count += 1
        what = f"the {self._kind} track has more than {self._count - 1} packets"
        self._limits.check("frames", self._count / self._allowed, what)

    def place(self, packet: Packet[Any]) -> None:
        if packet.pts is not None and packet.time_base and not packet.is_discard:
            self._span.add(float(packet.pts * packet.time_base))


class _Span:
    """Seconds from the earliest to the latest timestamp."""

    def __init__(self, kind: str, limits: Limits) -> None:
        self._kind, self._limits = kind, limits
        self._first, self._last = float("inf"), float("-inf")

    def add(self, time: float) -> float:
        self._first, self._last = min(self._first, time), max(self._last, time)
        seconds = self._last - self._first
        self._limits.check("seconds", seconds, f"the timestamps of the {self._kind} span {seconds:.0f} s")
        return seconds


def decode_video_packets(stream: VideoStream, packets: Packets, meter: Meter) -> Iterator[VideoFrame]:
    """Decoded frames in order of display.

    Raises:
        OverLimitError: too many frames, too large ones, too long, or too slow.
        av.FFmpegError: the decoder gives up.
    """
    limits, span = meter.limits, _Span("video", meter.limits)
    context = stream.codec_context
    context.options = decoder_options(limits)  # read when the first packet opens the decoder
    for count, frame in enumerate(_until_too_large(_decode(stream, packets, meter), context, limits), 1):
        limits.check("frames", count, f"the video has more than {count - 1} frames")
        limits.check("pixels", frame.width * frame.height, f"a frame is {frame.width}x{frame.height}")
        if frame.pts is not None and stream.time_base:
            span.add(float(frame.pts * stream.time_base))
        meter.add_pixels(frame.width * frame.height)
        yield frame


def _until_too_large(frames: Iterator[VideoFrame], context: Any, limits: Limits) -> Iterator[VideoFrame]:
    """The frames; where the decoder gives up because one is too large, the reason says so as far as can be known."""
    stated = context.width * context.height
    try:
        yield from frames
    except av.FFmpegError:
        size = context.width * context.height
        limits.check("pixels", size, f"a frame is {context.width}x{context.height}")
        if stated and not size:  # how a decoder leaves a size that it refused
            limits.check("pixels", math.inf, "a frame is larger")
        raise


def decode_audio_packets(stream: AudioStream, packets: Packets, meter: Meter) -> Iterator[AudioFrame]:
    """Decoded audio frames.

    Raises:
        OverLimitError: too many samples, silence in gaps included, or too slow.
        av.FFmpegError: the decoder gives up.
    """
    limits, span, samples = meter.limits, _Span("audio", meter.limits), 0
    for frame in _decode(stream, packets, meter):
        rate, channels = frame.sample_rate, frame.layout.nb_channels
        check_audio(rate, channels, limits)
        samples += frame.samples
        limits.check("seconds", samples / max(rate, 1), f"more than {samples / max(rate, 1):.0f} s of audio")
        spanned = 0.0
        if frame.pts is not None and stream.time_base:
            spanned = span.add(float(frame.pts * stream.time_base)) * rate
        values = max(samples, spanned) * channels
        limits.check("samples", values, f"{values / max(channels, 1):.0f} audio samples in {channels} channels")
        yield frame


def _decode(stream: Any, packets: Packets, meter: Meter) -> Iterator[Any]:
    """Frames of all packets and of the final flush."""
    for packet in [*packets, None]:
        meter.check_time()
        yield from stream.codec_context.decode(packet)
