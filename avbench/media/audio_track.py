"""Decode the audio track into one waveform."""

from __future__ import annotations

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from avbench.errors import MediaError
from avbench.media.faults import reason_of
from avbench.media.info import AudioInfo
from avbench.media.meter import Meter
from avbench.media.packets import Packets, decode_audio_packets
from avbench.media.timeline import Timeline, align
from avbench.media.track import DecodedTrack


def decode_audio(stream: AudioStream, packets: dict[int, Packets], source: str, meter: Meter) -> DecodedTrack:
    """Decode the track and place its samples by their timestamps.

    Raises:
        MediaError: it is damaged, its timestamps are, or it is beyond the limits.
        av.FFmpegError: the decoder gives up before the first frame.
    """
    # Packed samples: PyAV 18 crashes when it turns a planar frame of eight channels into an array.
    resampler = av.AudioResampler(format="flt")
    first: AudioFrame | None = None
    chunks: list[NDArray[np.float32]] = []
    times: list[float | None] = []
    try:
        for frame in decode_audio_packets(stream, packets[stream.index], meter):
            first = frame if first is None else first
            if change := _change(first, frame):
                return DecodedTrack(None, f"{change} inside the sound track; make the file again", {})
            # The stream's time base: frames that come out of the final flush carry none of their own.
            time = float(frame.pts * stream.time_base) if frame.pts is not None and stream.time_base else None
            for part in resampler.resample(frame):
                chunks.append(_planar(part))
                times.append(time)
                time = None
    except (av.FFmpegError, ValueError) as error:
        if first is None or isinstance(error, MemoryError):
            raise
        end = sum(chunk.shape[1] for chunk in chunks) / first.sample_rate
        raise MediaError(f"audio cannot be decoded after {end:.2f} s: {reason_of(error)}") from error
    if first is None or not chunks:
        return DecodedTrack(None, "the sound track holds no samples", {})
    try:
        timeline = align(chunks, times, first.sample_rate)
    except MediaError as error:
        raise MediaError(f"audio cannot be placed in time: {error}") from error
    if not np.isfinite(timeline.samples).all():
        return DecodedTrack(None, "the sound holds NaN or infinite samples", {})
    return DecodedTrack(_info(first, stream, timeline, source), None, {}, waveform=timeline.samples)


def _change(first: AudioFrame, frame: AudioFrame) -> str | None:
    """What differs from the first frame, in words; None where nothing does."""
    if frame.sample_rate != first.sample_rate:
        return f"the sample rate changes from {first.sample_rate} to {frame.sample_rate} Hz"
    before, after = first.layout, frame.layout
    if after.nb_channels != before.nb_channels:
        return f"the number of channels changes from {before.nb_channels} to {after.nb_channels}"
    if after.name != before.name:
        return f"the channel layout changes from {before.name} to {after.name}"
    if frame.format.name != first.format.name:
        return f"the sample format changes from {first.format.name} to {frame.format.name}"
    return None


def _info(first: AudioFrame, stream: AudioStream, timeline: Timeline, source: str) -> AudioInfo:
    channels, samples = timeline.samples.shape
    return AudioInfo(
        first.sample_rate, channels, samples, timeline.start, stream.codec_context.name, source,
        layout=first.layout.name, gaps=timeline.gaps,
    )  # fmt: skip


def _planar(frame: AudioFrame) -> NDArray[np.float32]:
    """Packed samples of a frame as (C, N)."""
    return np.asarray(frame.to_ndarray(), np.float32).reshape(-1, len(frame.layout.channels)).T
