"""Decode the video track: every frame once, all views in that pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Protocol

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from avbench.errors import MediaError
from avbench.media.collect import FrameCollector, NeedsAnotherPass
from avbench.media.frame_times import (
    TICK,
    FrameTimes,
    NoTimesError,
    decoding_times,
    goes_back,
    held_until,
    packet_times,
    presentation_times,
    refuse_breaks,
)
from avbench.media.info import VideoInfo
from avbench.media.meter import Meter
from avbench.media.options import DecodeOptions, default_threads
from avbench.media.packets import Packets, decode_video_packets
from avbench.media.sampling import Times
from avbench.media.stated_size import is_cut
from avbench.media.track import DecodedTrack
from avbench.media.views import Frames, FrameSeries, View

_DEFAULT_FPS = 25.0
_CLOCK_MAY_BREAK: Any = av.format.Flags.ts_discont.value


def decode_video(
    stream: VideoStream, packets: dict[int, Packets], views: Sequence[View], options: DecodeOptions, meter: Meter
) -> DecodedTrack:
    """Decode the track and compute `views`.

    Raises:
        MediaError: it is damaged, cannot be placed in time, or is beyond the limits.
        av.FFmpegError: the decoder gives up.
    """
    stream.thread_type = "AUTO"
    track_packets = packets[stream.index]
    return _decode(_Track(stream, track_packets, _nominal_fps(stream, track_packets), options, meter), views)


@dataclass(frozen=True)
class _Track:
    """What is decoded, and how."""

    stream: VideoStream
    packets: Packets
    fps: float
    options: DecodeOptions
    meter: Meter

    @property
    def unit(self) -> Fraction:
        """Seconds per unit of a timestamp."""
        # Frames that come out of the final flush carry no time base of their own.
        return self.stream.time_base or Fraction(1)

    @property
    def step(self) -> float:
        """Nominal seconds per frame."""
        return 1.0 / self.fps

    def refuse_breaks(self, times: Times) -> None:
        """Refuse times with a break where the clock of the container may start anew."""
        if self.stream.container.format.flags & _CLOCK_MAY_BREAK:
            refuse_breaks(times)

    def check_length(self, times: FrameTimes) -> FrameTimes:
        """Return the times, unless they are beyond the limit: a few bytes can hold the last frame for years."""
        if len(times.times):
            end = float(times.times[-1]) if times.end is None else times.end
            seconds = end - float(times.times[0])
            self.meter.limits.check("seconds", seconds, f"the frames last {seconds:.0f} s")
        return times

    def restart(self) -> None:
        """Make the decoder ready for the first packet again."""
        self.stream.codec_context.flush_buffers()


def _nominal_fps(stream: VideoStream, packets: Packets) -> float:
    rate = stream.guessed_rate or stream.average_rate
    if rate:
        return float(rate)
    stamps = sorted({packet.pts for packet in packets if packet.pts is not None})
    if len(stamps) < 2 or not stream.time_base:
        return _DEFAULT_FPS
    return 1.0 / float(np.median(np.diff(stamps)) * float(stream.time_base))


def _decode(track: _Track, views: Sequence[View]) -> DecodedTrack:
    """Frames at their timestamps, or at decoding times where the timestamps are no times."""
    stream = track.stream
    # AVI has no room for presentation times; what FFmpeg gives instead is a guess in order of decoding.
    stated = "avi" not in stream.container.format.name.split(",")
    order = decoding_times(track.packets, track.unit, stated=stated)
    if order is None:
        return _by_timestamp(track, views)
    by_order = partial(_by_decoding_order, order=order)
    first, second = (_by_timestamp, by_order) if stated else (by_order, _by_timestamp)
    try:
        return first(track, views)
    except NoTimesError as error:
        track.restart()
        with suppress(NoTimesError):
            return second(track, views)
        raise error


def _by_timestamp(track: _Track, views: Sequence[View]) -> DecodedTrack:
    expected = packet_times(track.packets, track.unit, track.step).first(track.options.seconds)
    track.check_length(expected)
    return _collect(track, views, expected, _ByTimestamp(track))


def _by_decoding_order(track: _Track, views: Sequence[View], *, order: Times) -> DecodedTrack:
    expected = FrameTimes(order).first(track.options.seconds)
    track.refuse_breaks(expected.times)
    whole = len(expected.times) == len(order)
    return _collect(track, views, expected, _InOrder(track, expected, one_per_packet=whole))


def _collect(track: _Track, views: Sequence[View], expected: FrameTimes, clock: _Clock) -> DecodedTrack:
    """Compute `views`, with a second pass over the packets at hand where the frames have other times than expected."""
    try:
        return _pass(track, views, expected, clock)
    except NeedsAnotherPass as again:
        track.restart()
        times, done = again.times, again.done
    rest = [view for view in views if view not in done]
    decoded = _pass(track, rest, times, _InOrder(track, times))
    decoded.views = done | decoded.views
    return decoded


def _pass(track: _Track, views: Sequence[View], expected: FrameTimes, clock: _Clock) -> DecodedTrack:
    series = [view for view in views if isinstance(view, FrameSeries)]
    samples = [view for view in views if isinstance(view, Frames)]
    threads = track.options.threads or default_threads()
    with FrameCollector(series, samples, expected, track.fps, threads=threads, spool=track.options.spool) as collector:
        for frame in clock.frames():
            collector.push(frame)
        times = clock.times()
        arrays = collector.finish(times)
    if not len(times.times):
        return DecodedTrack(None, "the video track holds no frame", {})
    height, width = collector.size
    info = VideoInfo(times.times, track.fps, width, height, track.stream.codec_context.name, times.end)
    return DecodedTrack(info, None, arrays, collector.failures)


class _Clock(Protocol):
    """Gives each frame its time."""

    def frames(self) -> Iterator[tuple[VideoFrame, float]]:
        """Decoded frames with their time in seconds, as well as it is known so far."""

    def times(self) -> FrameTimes:
        """The times of the frames that were given out, now that all are known.

        Raises:
            NoTimesError: there are none.
        """


class _ByTimestamp:
    """Times by the frames' own timestamps; frames without one follow their predecessor."""

    def __init__(self, track: _Track) -> None:
        self._track = track
        self._stamps: list[float | None] = []
        self._last_duration = 0.0

    def frames(self) -> Iterator[tuple[VideoFrame, float]]:
        unit, step, seconds = self._track.unit, self._track.step, self._track.options.seconds
        last_stamp, time, limit = -np.inf, 0.0, np.inf
        for frame in _decoded(self._track):
            stamp = None if frame.pts is None else float(frame.pts * unit)
            if stamp is not None and stamp < last_stamp:
                raise goes_back(last_stamp, stamp, len(self._stamps))
            if stamp is not None:
                last_stamp = time = stamp
            else:
                time = time + step if np.isfinite(last_stamp) else len(self._stamps) * step
            if not self._stamps and seconds is not None:
                limit = time + seconds - TICK
            if time >= limit:
                return
            self._stamps.append(stamp)
            self._last_duration = float((frame.duration or 0) * unit)
            yield frame, time

    def times(self) -> FrameTimes:
        track = self._track
        times = presentation_times(self._stamps, track.step)
        track.refuse_breaks(times)
        ended = FrameTimes(times, held_until(times, track.fps, self._last_duration)).first(track.options.seconds)
        return track.check_length(ended)


class _InOrder:
    """Known times, in order of display."""

    def __init__(self, track: _Track, known: FrameTimes, *, one_per_packet: bool = False) -> None:
        self._track = track
        self._known = known
        self._one_per_packet = one_per_packet
        self._count = 0

    def frames(self) -> Iterator[tuple[VideoFrame, float]]:
        known = self._known.times
        for frame in _decoded(self._track):
            self._count += 1
            if self._count > len(known):
                break
            yield frame, float(known[self._count - 1])
        if self._one_per_packet:
            self._check()

    def times(self) -> FrameTimes:
        if self._count >= len(self._known.times):
            return self._known
        return FrameTimes(self._known.times[: self._count])

    def _check(self) -> None:
        packets = len(self._known.times)
        # Where the file ends in the middle of a frame, that frame and those that wait for it are missing at the end.
        if self._count == packets or (self._count < packets and is_cut(self._track.stream.container)):
            return
        raise NoTimesError(
            f"{packets} packets give {'fewer' if self._count < packets else 'more'} frames, and the file does not say "
            "when each is shown; write it anew with presentation times (as MP4 or Matroska)"
        )


def _decoded(track: _Track) -> Iterator[VideoFrame]:
    """Frames in order of display."""
    for count, frame in enumerate(decode_video_packets(track.stream, track.packets, track.meter)):
        if frame.is_corrupt:
            near = count / track.fps if frame.pts is None else float(frame.pts * track.unit)
            raise MediaError(f"damaged frame near {near:.2f} s")
        yield frame
