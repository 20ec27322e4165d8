"""Decode a clip: one open and one demux pass per file, all declared views in that pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from avbench.clips import Clip
from avbench.errors import MediaError
from avbench.media.audio_track import decode_audio
from avbench.media.container import demux, first_audio, first_video, open_media
from avbench.media.info import AudioInfo
from avbench.media.lengths import too_short
from avbench.media.media import Media, render_waveform
from avbench.media.options import DecodeOptions
from avbench.media.spool import spool
from avbench.media.track import DecodedTrack
from avbench.media.video_track import decode_video
from avbench.media.views import View, Waveform


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
        packets = demux(container, [s for s in (video_stream, audio_stream) if s is not None])
        media = Media(key=key, video=None, audio=None)
        if video_stream is not None:
            pixels = decode_video(video_stream, packets, frame_views, options)
            _guard(media, "video", too_short(pixels.info, video_stream, packets, options.seconds) or pixels.problem)
            if "video" not in media.problems:
                media.video = pixels.info
                media.failures.update(pixels.failures)
                media.views.update(pixels.views)
        sound = decode_audio(audio_stream, packets, "embedded") if audio_stream is not None else None
        if sound is not None and audio_stream is not None:
            sound.problem = too_short(sound.info, audio_stream, packets) or sound.problem
    if clip.audio is not None:
        sound = _decode_sidecar(clip.audio)
    if sound is not None:
        _guard(media, "audio", sound.problem)
        _add_sound(media, _cut(sound, options.seconds), clip)
        _add_sound_views(media, sound, sound_views, options.spool)
    return media


def _guard(media: Media, track: str, problem: str | None) -> None:
    if problem is not None:
        media.problems[track] = problem


def _cut(sound: DecodedTrack, seconds: float | None) -> DecodedTrack:
    """Drop what lies beyond `seconds` from the start of the track."""
    if seconds is not None and sound.problem is None and sound.waveform is not None:
        sound.waveform = sound.waveform[:, : int(seconds * sound.info.sample_rate)]
        gaps = tuple((at, length) for at, length in sound.info.gaps if at < seconds)
        sound.info = replace(sound.info, samples=sound.waveform.shape[1], gaps=gaps)
    return sound


def _add_sound_views(media: Media, sound: DecodedTrack, views: Sequence[Waveform], folder: Path | None) -> None:
    if media.audio is not None and sound.waveform is not None:
        for view in views:
            media.views[view] = spool(render_waveform(sound.waveform, media.audio.sample_rate, view), folder)


def _add_sound(media: Media, sound: DecodedTrack, clip: Clip) -> None:
    if sound.problem is not None or sound.waveform is None:
        return
    info: AudioInfo = sound.info
    if clip.audio is not None and media.video is not None:
        # A sound file has no timeline of its own: it starts with the first picture.
        info = replace(info, start=float(media.video.times[0]))
    media.audio = info


def _decode_sidecar(path: Path) -> DecodedTrack:
    try:
        with open_media(path) as container:
            stream = first_audio(container)
            if stream is None:
                return DecodedTrack(None, f"{path}: the sound file has no sound track", {})
            packets = demux(container, [stream])
            sound = decode_audio(stream, packets, "sidecar")
            sound.problem = too_short(sound.info, stream, packets) or sound.problem
    except MediaError as error:
        return DecodedTrack(None, str(error), {})
    return sound
