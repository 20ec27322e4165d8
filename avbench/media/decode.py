"""Decode a clip: one open and one demux pass per file, all declared views in that pass."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from avbench.clips import Clip
from avbench.errors import MediaError
from avbench.media.collect import FrameCollector, NeedsAnotherPass
from avbench.media.media import AudioInfo, Media, VideoInfo, render_waveform
from avbench.media.sampling import Times
from avbench.media.spool import Spooled, spool
from avbench.media.views import Frames, FrameSeries, View, Waveform

# Containers of ordinary media files. Playlists (HLS, DASH, concat) are left out because they make FFmpeg
# open other files or addresses that the clip names.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,asf,ogg,"
    "wav,w64,flac,mp3,aac,aiff,h264,hevc,ivf"
)

Packets: TypeAlias = "list[Packet[Any]]"  # Packet is generic in its stubs only

_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}

# A track that lasts less than this share of what its header promises was cut off.
_COMPLETE_SHARE = 0.9
_COMPLETE_SLACK_S = 0.15

# Frame times are multiples of a time base that floats do not hold exactly.
_TICK = 1e-6


def default_threads() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class DecodeOptions:
    """How a clip is decoded.

    Attributes:
        threads: threads for per-frame work; None for all CPUs of this process.
        seconds: only this much from the start of each track; None for everything.
        spool: folder where sampled frames and sound wait; None keeps them in memory.
    """

    threads: int | None = None
    seconds: float | None = None
    spool: Path | None = None


def decode_clip(clip: Clip, key: str, views: Iterable[View], options: DecodeOptions | None = None) -> Media:
    """Open a clip once and compute all `views` in one pass.

    Args:
        clip: picture file, and a sound file where one replaces the embedded track.
        key: identity of the content, normally the sha256 of the file(s).
        views: what the scorers declared.
        options: threads, length, spool.

    Returns:
        Media with `video` or `audio` None where a track is absent (no entry in `problems`) or broken
        (reason in `problems`).

    Raises:
        MediaError: the file is missing, empty, or no media file.
    """
    options = options or DecodeOptions()
    wanted = list(dict.fromkeys(views))
    frame_views = [view for view in wanted if not isinstance(view, Waveform)]
    sound_views = [view for view in wanted if isinstance(view, Waveform)]
    with open_media(clip.video) as container:
        video_stream = first_video(container)
        embedded = clip.audio is None
        audio_stream = first_audio(container) if embedded else None
        packets = _demux(container, [s for s in (video_stream, audio_stream) if s is not None])
        media = Media(key=key, video=None, audio=None)
        if video_stream is not None:
            pixels = _decode_video(video_stream, packets, frame_views, options)
            _guard(media, "video", pixels.problem or _too_short(pixels.info, video_stream, container, options.seconds))
            if "video" not in media.problems:
                media.video = pixels.info
                media.failures.update(pixels.failures)
                media.views.update(pixels.views)
        sound = _decode_audio(audio_stream, packets, "embedded") if audio_stream is not None else None
        if sound is not None and audio_stream is not None and sound.problem is None:
            sound.problem = _too_short(sound.info, audio_stream, container)
    if clip.audio is not None:
        sound = _decode_sidecar(clip.audio)
    if sound is not None:
        _guard(media, "audio", sound.problem)
        _add_sound(media, _cut(sound, options.seconds), clip)
        _add_sound_views(media, sound, sound_views, options.spool)
    return media


@dataclass
class _Decoded:
    """One decoded track."""

    info: Any
    problem: str | None
    views: dict[View, NDArray[Any] | Spooled]
    failures: dict[View, Exception] = field(default_factory=dict)
    waveform: NDArray[np.float32] | None = None


def _guard(media: Media, track: str, problem: str | None) -> None:
    if problem is not None:
        media.problems[track] = problem


def _cut(sound: _Decoded, seconds: float | None) -> _Decoded:
    """Drop what lies beyond `seconds` from the start of the track."""
    if seconds is not None and sound.problem is None and sound.waveform is not None:
        sound.waveform = sound.waveform[:, : int(seconds * sound.info.sample_rate)]
        sound.info = replace(sound.info, samples=sound.waveform.shape[1])
    return sound


def _add_sound_views(media: Media, sound: _Decoded, views: Sequence[Waveform], folder: Path | None) -> None:
    if media.audio is not None and sound.waveform is not None:
        for view in views:
            media.views[view] = spool(render_waveform(sound.waveform, media.audio.sample_rate, view), folder)


def _add_sound(media: Media, sound: _Decoded, clip: Clip) -> None:
    if sound.problem is not None or sound.waveform is None:
        return
    info: AudioInfo = sound.info
    if clip.audio is not None and media.video is not None:
        # A sound file has no timeline of its own: it starts with the first picture.
        info = AudioInfo(
            info.sample_rate, info.channels, info.samples, float(media.video.times[0]), info.codec, "sidecar"
        )
    media.audio = info


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
        return av.open(f"file:{path.absolute()}", options=dict(_OPTIONS), metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(f"{path}: not a readable media file ({_short(error)})") from error


def _short(error: BaseException) -> str:
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


def _demux(container: av.container.InputContainer, streams: Sequence[VideoStream | AudioStream]) -> dict[int, Packets]:
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


def _decode_video(
    stream: VideoStream, packets: dict[int, Packets], views: Sequence[View], options: DecodeOptions
) -> _Decoded:
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
        return _Decoded(None, f"picture cannot be decoded: {_short(error)}", {})
    if not len(collector.times):
        return _Decoded(None, "the picture track holds no frame", {})
    height, width = collector.size
    info = VideoInfo(
        np.array(collector.times), fps, width, height, stream.codec_context.name, collector.rotation
    )  # fmt: skip
    return _Decoded(info, None, arrays, collector.failures)


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


def _too_short(
    info: VideoInfo | AudioInfo | None, stream: VideoStream | AudioStream, container: Any, asked: float | None = None
) -> str | None:
    """A reason when a track ends well before its header says (or before the `asked` seconds), else None."""
    if info is None:
        return None
    if stream.duration and stream.time_base:
        promised = float(stream.duration * stream.time_base)
    elif container.duration and len(container.streams) == 1:
        promised = container.duration / av.time_base
    else:
        return None
    promised = promised if asked is None else min(promised, asked)
    if info.duration >= _COMPLETE_SHARE * promised - _COMPLETE_SLACK_S:
        return None
    return f"truncated: {info.duration:.2f} s of {promised:.2f} s could be decoded; make the file again"


def _decode_audio(stream: AudioStream, packets: dict[int, Packets], source: str) -> _Decoded:
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
        return _Decoded(None, f"sound cannot be decoded: {_short(error)}", {})
    if not chunks:
        return _Decoded(None, "the sound track holds no samples", {})
    if len({chunk.shape[0] for chunk in chunks}) > 1:
        return _Decoded(None, "the number of sound channels changes inside the track", {})
    sound = np.concatenate(chunks, axis=1)  # (C, N)
    if not np.isfinite(sound).all():
        return _Decoded(None, "the sound holds NaN or infinite samples", {})
    info = AudioInfo(
        stream.codec_context.sample_rate, sound.shape[0], sound.shape[1], start or 0.0, stream.codec_context.name,
        source,
    )  # fmt: skip
    return _Decoded(info, None, {}, waveform=sound)


def _planar(frame: AudioFrame) -> NDArray[np.float32]:
    """Packed samples of a frame as (C, N)."""
    return np.asarray(frame.to_ndarray(), np.float32).reshape(-1, len(frame.layout.channels)).T


def _decode_sidecar(path: Path) -> _Decoded:
    try:
        with open_media(path) as container:
            stream = first_audio(container)
            if stream is None:
                return _Decoded(None, f"{path}: the sound file has no sound track", {})
            sound = _decode_audio(stream, _demux(container, [stream]), "sidecar")
            if sound.problem is None:
                sound.problem = _too_short(sound.info, stream, container)
    except MediaError as error:
        return _Decoded(None, str(error), {})
    return sound
