"""Decode the video track: every frame once, all views in that pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from avbench.errors import MediaError
from avbench.media.collect import FrameCollector, NeedsAnotherPass
from avbench.media.container import Packets, short_reason
from avbench.media.info import VideoInfo
from avbench.media.options import DecodeOptions, default_threads
from avbench.media.sampling import Times
from avbench.media.track import DecodedTrack
from avbench.media.views import Frames, FrameSeries, View

# Frame times are multiples of a time base that floats do not hold exactly.
_TICK = 1e-6


def decode_video(
    stream: VideoStream, packets: dict[int, Packets], views: Sequence[View], options: DecodeOptions
) -> DecodedTrack:
    stream.thread_type = "AUTO"
    own = packets[stream.index]
    expected: Times = np.sort([float(p.pts * p.time_base) for p in own if p.pts is not None and not p.is_discard])
    if options.seconds is not None and len(expected):
        expected = expected[expected < expected[0] + options.seconds - _TICK]
    fps = _nominal_fps(stream, expected)
    threads = options.threads or default_threads()
    series = [view for view in views if isinstance(view, FrameSeries)]
    samples = [view for view in views if isinstance(view, Frames)]
    try:
        with FrameCollector(series, samples, expected, fps, threads=threads, spool=options.spool) as collector:
            for frame in _frames(stream, own, options.seconds):
                collector.push(frame)
            try:
                arrays = collector.finish()
            except NeedsAnotherPass as again:
                # The container's packet times were not the decoder's frame times, so samples were chosen
                # from the wrong list. Decode the packets at hand once more with the right one.
                stream.codec_context.flush_buffers()
                with FrameCollector([], samples, again.times, fps, threads=threads, spool=options.spool) as second:
                    for frame in _frames(stream, own, options.seconds):
                        second.push(frame)
                    arrays = again.done | second.finish()
                    collector.failures.update(second.failures)
    except (av.FFmpegError, ValueError, MediaError) as error:
        return DecodedTrack(None, f"picture cannot be decoded: {short_reason(error)}", {})
    if not len(collector.times):
        return DecodedTrack(None, "the picture track holds no frame", {})
    height, width = collector.size
    info = VideoInfo(
        np.array(collector.times), fps, width, height, stream.codec_context.name, collector.rotation
    )  # fmt: skip
    return DecodedTrack(info, None, arrays, collector.failures)


def _frames(stream: VideoStream, packets: Packets, seconds: float | None) -> Iterator[tuple[VideoFrame, float]]:
    """Decoded frames with their time in seconds; frames without a timestamp follow their predecessor."""
    end: float | None = None
    step = 1.0 / float(stream.guessed_rate or stream.average_rate or 25)
    last = -step
    for packet in [*packets, None]:
        for frame in stream.codec_context.decode(packet):
            if frame.is_corrupt:
                raise MediaError(f"damaged frame near {last + step:.2f} s")
            # The stream's time base: frames that come out of the final flush carry none of their own.
            last = float(frame.pts * stream.time_base) if frame.pts is not None and stream.time_base else last + step
            end = last + seconds - _TICK if end is None and seconds is not None else end
            if end is not None and last >= end:
                return
            yield frame, last


def _nominal_fps(stream: VideoStream, times: Times) -> float:
    rate = stream.guessed_rate or stream.average_rate
    if rate:
        return float(rate)
    return 1.0 / float(np.median(np.diff(times))) if len(times) > 1 else 25.0
