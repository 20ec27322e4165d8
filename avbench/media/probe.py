"""Look at a clip's headers without decoding it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from avbench.clips import Clip
from avbench.errors import MediaError
from avbench.media.container import NO_TRACKS, decoder_options, first_audio, first_video, open_media, track_problem
from avbench.media.faults import reason_of
from avbench.media.limits import Limits


@dataclass(frozen=True)
class Probe:
    """A clip's headers. `audio` is "none" or says where the sound comes from; `problem` is None if fine."""

    video: str = "none"
    audio: str = "none"
    duration: float | None = None
    problem: str | None = None


def probe_clip(clip: Clip, limits: Limits | None = None) -> Probe:
    """Read the headers of a clip's file(s); what keeps a track from being decoded is a `problem`.

    Raises:
        EnvironmentProblem: the installed packages do not fit; not the clip's fault.
    """
    limits = limits or Limits()
    try:
        probe = _probe_file(clip, limits)
    except Exception as error:  # noqa: BLE001 - one clip must not cost another; see faults
        return Probe(problem=reason_of(error))
    if clip.audio is None:
        return probe
    try:
        return replace(probe, audio=_probe_sidecar(clip, limits))
    except Exception as error:  # noqa: BLE001 - see faults
        problem = f"sound file: {reason_of(error)}"
        return replace(probe, problem=f"{probe.problem}; {problem}" if probe.problem else problem)


def _probe_file(clip: Clip, limits: Limits) -> Probe:
    with open_media(clip.video, limits) as container:
        video, audio = first_video(container), first_audio(container)
        duration = container.duration / av.time_base if container.duration else None
        problems = [] if video is not None else ["no video track" if audio is not None else NO_TRACKS]
        video_text = audio_text = "none"
        if video is not None:
            if problem := track_problem(video, container, limits) or _cannot_open(video, limits):
                problems.append(problem)
            else:
                video_text = f"{video.codec_context.width}x{video.codec_context.height} {video.codec_context.name}"
        if audio is not None and clip.audio is None:
            if problem := track_problem(audio, container, limits) or _cannot_open(audio, limits):
                problems.append(problem)
            else:
                audio_text = f"embedded {audio.codec_context.name} {audio.codec_context.sample_rate} Hz"
    return Probe(video_text, audio_text, duration, "; ".join(problems) or None)


def _cannot_open(stream: VideoStream | AudioStream, limits: Limits) -> str | None:
    """Why the decoder refuses the track before it has seen a packet."""
    try:
        stream.codec_context.options = decoder_options(limits)
        stream.codec_context.open()
    except av.FFmpegError as error:
        return f"{stream.type} cannot be decoded: {reason_of(error)}"
    return None


def _probe_sidecar(clip: Clip, limits: Limits) -> str:
    assert clip.audio is not None
    with open_media(clip.audio, limits) as container:
        audio = first_audio(container)
        if audio is None:
            raise MediaError("it has no sound track")
        if problem := track_problem(audio, container, limits) or _cannot_open(audio, limits):
            raise MediaError(problem)
        return f"{clip.audio.name} {audio.codec_context.sample_rate} Hz"
