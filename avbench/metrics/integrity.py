"""Whether video and audio of a clip cover the same stretch of time. Read from the tracks' metadata, no view."""

from __future__ import annotations

import math

from avbench.media import AudioInfo, Media, VideoInfo
from avbench.metrics.base import Score, scorer


@scorer(
    "duration_mismatch",
    unit="s",
    higher_is_better=None,
    range=(-math.inf, math.inf),
    source="avbench definition, on decoded frames and samples rather than on container durations",
    needs=("video", "audio"),
    caveat="0 is best, so neither direction is good. AAC pads by up to 0.05 s; only more is a fault.",
)
def duration_mismatch(media: Media) -> Score:
    """Duration of the audio minus duration of the video (0 is best; positive: the sound is longer).

    Formula: N / rate - (t_last - t_first + median frame gap).
    """
    video, audio = _tracks(media)
    if len(video.times) == 0:
        return Score.skipped("the video track holds no frame")
    difference = audio.duration - video.duration
    return Score.ok(difference, audio_s=audio.duration, video_s=video.duration, **audio.gap_detail)


@scorer(
    "start_offset",
    unit="s",
    higher_is_better=None,
    range=(-math.inf, math.inf),
    source="avbench definition: first presentation times of the two tracks",
    needs=("video", "audio"),
    caveat="0 is best, so neither direction is good. Says when the tracks start, not whether they agree.",
)
def start_offset(media: Media) -> Score:
    """Start of the audio minus start of the video (0 is best; positive: the sound starts later).

    Formula: time of the first sample - time of the first frame; a sound file beside the video starts at 0.
    """
    video, audio = _tracks(media)
    if len(video.times) == 0:
        return Score.skipped("the video track holds no frame")
    first = float(video.times[0])
    return Score.ok(audio.start - first, audio_start_s=audio.start, video_start_s=first)


def _tracks(media: Media) -> tuple[VideoInfo, AudioInfo]:
    if media.video is None or media.audio is None:
        raise LookupError(f"{media.key} lacks a track; needs must hold 'video' and 'audio'")
    return media.video, media.audio
