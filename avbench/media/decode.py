"""Decode a clip: one open and one demux pass per file, all declared views in that pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from avbench.clips import Clip
from avbench.errors import MediaError
from avbench.media.audio_track import decode_audio
from avbench.media.container import NO_TRACKS, first_audio, first_video, open_media, track_problem
from avbench.media.faults import reason_of
from avbench.media.info import AudioInfo
from avbench.media.lengths import too_short
from avbench.media.limits import Limits, OverLimitError
from avbench.media.media import Media, render_waveform
from avbench.media.meter import Meter
from avbench.media.options import DecodeOptions
from avbench.media.packets import Packets, demux
from avbench.media.spool import spool
from avbench.media.track import DecodedTrack
from avbench.media.video_track import decode_video
from avbench.media.views import View, Waveform

Stream: TypeAlias = VideoStream | AudioStream


def decode_clip(clip: Clip, key: str, views: Iterable[View], options: DecodeOptions | None = None) -> Media:
    """Open a clip once and compute all `views` in one pass.

    Args:
        clip: video file, and a sound file where one replaces the embedded track.
        key: identity of the content, normally the sha256 of the file(s).
        views: what the scorers declared.
        options: threads, length, spool, limits.

    Returns:
        Media with `video` or `audio` None where a track is absent (no entry in `problems`) or broken
        (reason in `problems`).

    Raises:
        MediaError: the file is missing, empty, no media file, or beyond the limits. Whatever else the decoder raises
            comes as this, too.
        EnvironmentProblem: the installed packages do not fit, or the disk is full: not the clip's fault.
    """
    try:
        return _decode(clip, key, list(dict.fromkeys(views)), options or DecodeOptions())
    except Exception as error:
        # Whatever it is: one clip must not cost another.
        raise MediaError(reason_of(error)) from error


def _decode(clip: Clip, key: str, views: Sequence[View], options: DecodeOptions) -> Media:
    meter = Meter(options.limits, options.progress)
    media = Media(key=key, video=None, audio=None)
    with open_media(clip.video, options.limits) as container:
        audio_stream = first_audio(container)
        streams = [s for s in (first_video(container), audio_stream) if s is not None]
        if not streams:
            media.problems["video"] = media.problems["audio"] = NO_TRACKS
        if clip.audio is not None:
            streams = [stream for stream in streams if stream is not audio_stream]
        tracks = _decode_tracks(container, streams, views, options, meter)
    if clip.audio is not None:
        media.problems.pop("audio", None)
        tracks["audio"] = _decode_sidecar(clip.audio, options, meter)
    if "video" in tracks:
        _add_video(media, tracks["video"])
    if "audio" in tracks:
        _add_audio(media, _cut(tracks["audio"], options.seconds), clip)
        _add_audio_views(media, tracks["audio"], [view for view in views if isinstance(view, Waveform)], options)
    return media


def _decode_tracks(
    container: InputContainer, streams: Sequence[Stream], views: Sequence[View], options: DecodeOptions, meter: Meter
) -> dict[str, DecodedTrack]:
    """Tracks by type; a broken one costs no other."""
    tracks: dict[str, DecodedTrack] = {}
    for stream in streams:
        if problem := track_problem(stream, container, options.limits):
            tracks[stream.type] = DecodedTrack(None, problem, {})
    usable = [stream for stream in streams if stream.type not in tracks]
    read = demux(container, usable, meter)
    frame_views = [view for view in views if not isinstance(view, Waveform)]
    for stream in usable:
        try:
            if stream.index in read.refused:
                raise MediaError(read.refused[stream.index])
            tracks[stream.type] = _decode_track(stream, read.packets, frame_views, options, meter)
        except Exception as error:  # noqa: BLE001 - see faults
            tracks[stream.type] = DecodedTrack(None, reason_of(error), {})
    return tracks


def _decode_track(
    stream: Stream, packets: dict[int, Packets], views: Sequence[View], options: DecodeOptions, meter: Meter
) -> DecodedTrack:
    """One track. That its file was cut off explains more than what the decoder makes of the last packet."""
    asked = options.seconds if isinstance(stream, VideoStream) else None
    try:
        if isinstance(stream, VideoStream):
            track = decode_video(stream, packets, views, options, meter)
        else:
            track = decode_audio(stream, packets, "embedded", meter)
    except OverLimitError:
        raise
    except MediaError as error:
        track = DecodedTrack(None, str(error), {})
    except Exception as error:  # noqa: BLE001 - see faults
        track = DecodedTrack(None, f"{stream.type} cannot be decoded: {reason_of(error)}", {})
    track.problem = too_short(track.info, stream, packets, asked) or track.problem
    return track


def _add_video(media: Media, track: DecodedTrack) -> None:
    if track.problem is not None:
        media.problems["video"] = track.problem
        return
    media.video = track.info
    media.views.update(track.views)
    for view, failure in track.failures.items():
        # Memory that this clip's frames do not find is no reason to stop a metric for all clips.
        media.failures[view] = MediaError("out of memory") if isinstance(failure, MemoryError) else failure


def _cut(sound: DecodedTrack, seconds: float | None) -> DecodedTrack:
    """Drop what lies beyond `seconds` from the start of the track."""
    if seconds is not None and sound.problem is None and sound.waveform is not None:
        sound.waveform = sound.waveform[:, : int(seconds * sound.info.sample_rate)]
        gaps = tuple((at, length) for at, length in sound.info.gaps if at < seconds)
        sound.info = replace(sound.info, samples=sound.waveform.shape[1], gaps=gaps)
    return sound


def _add_audio_views(media: Media, sound: DecodedTrack, views: Sequence[Waveform], options: DecodeOptions) -> None:
    if media.audio is None or sound.waveform is None:
        return
    for view in views:
        try:
            _check_samples(sound.waveform, media.audio.sample_rate, view, options.limits)
            rendered = render_waveform(sound.waveform, media.audio.sample_rate, view)
            media.views[view] = spool(rendered, options.spool)
        except Exception as error:  # noqa: BLE001 - it costs those who ask for this view; see faults
            media.failures[view] = MediaError(reason_of(error))


def _check_samples(waveform: NDArray[np.float32], rate: int, view: Waveform, limits: Limits) -> None:
    channels = 1 if view.mono else waveform.shape[0]
    count = waveform.shape[1] * (view.rate or rate) / rate
    limits.check("samples", count * channels, f"{count:.0f} audio samples at {view.rate} Hz")
    target = view.rate or rate
    limits.check("upsampling", target / rate, f"{rate} samples per second would become {target}")


def _add_audio(media: Media, sound: DecodedTrack, clip: Clip) -> None:
    if sound.problem is not None or sound.waveform is None:
        media.problems["audio"] = sound.problem or "the sound track holds no samples"
        return
    info: AudioInfo = sound.info
    if clip.audio is not None and media.video is not None:
        # A sound file has no timeline of its own: it starts with the first frame.
        info = replace(info, start=float(media.video.times[0]))
    media.audio = info


def _decode_sidecar(path: Path, options: DecodeOptions, meter: Meter) -> DecodedTrack:
    """The first sound track of a sound file; its problems say that they are about that file."""
    try:
        with open_media(path, options.limits) as container:
            stream = first_audio(container)
            if stream is None:
                raise MediaError("it has no sound track")
            track = _decode_tracks(container, [stream], (), options, meter)["audio"]
            problem = track.problem
    except Exception as error:  # noqa: BLE001 - it costs the sound only; see faults
        problem = reason_of(error)
    if problem is not None:
        return DecodedTrack(None, f"sound file: {problem}", {})
    track.info = replace(track.info, source="sidecar")
    return track
