"""Whether a track is as long as its file says."""

from __future__ import annotations

from typing import Any

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from avbench.media.info import AudioInfo, VideoInfo

# A track that lasts less than this share of what its header promises was cut off.
_COMPLETE_SHARE = 0.9
_COMPLETE_SLACK_S = 0.15


def too_short(
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
