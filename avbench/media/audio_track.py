"""Decode the audio track into one waveform."""

from __future__ import annotations

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from avbench.media.container import Packets, short_reason
from avbench.media.info import AudioInfo
from avbench.media.track import DecodedTrack


def decode_audio(stream: AudioStream, packets: dict[int, Packets], source: str) -> DecodedTrack:
    # Packed samples: PyAV 18 crashes when it turns a planar frame of eight channels into an array.
    resampler = av.AudioResampler(format="flt")
    chunks: list[NDArray[np.float32]] = []
    start: float | None = None
    try:
        for packet in [*packets[stream.index], None]:
            for frame in stream.codec_context.decode(packet):
                if start is None and frame.pts is not None and stream.time_base:
                    start = float(frame.pts * stream.time_base)
                chunks += [_planar(out) for out in resampler.resample(frame)]
    except (av.FFmpegError, ValueError) as error:
        return DecodedTrack(None, f"sound cannot be decoded: {short_reason(error)}", {})
    if not chunks:
        return DecodedTrack(None, "the sound track holds no samples", {})
    if len({chunk.shape[0] for chunk in chunks}) > 1:
        return DecodedTrack(None, "the number of sound channels changes inside the track", {})
    sound = np.concatenate(chunks, axis=1)  # (C, N)
    if not np.isfinite(sound).all():
        return DecodedTrack(None, "the sound holds NaN or infinite samples", {})
    info = AudioInfo(
        stream.codec_context.sample_rate, sound.shape[0], sound.shape[1], start or 0.0, stream.codec_context.name,
        source,
    )  # fmt: skip
    return DecodedTrack(info, None, {}, waveform=sound)


def _planar(frame: AudioFrame) -> NDArray[np.float32]:
    """Packed samples of a frame as (C, N)."""
    return np.asarray(frame.to_ndarray(), np.float32).reshape(-1, len(frame.layout.channels)).T
