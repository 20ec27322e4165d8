"""Look at a clip's headers without decoding it."""

from __future__ import annotations

from dataclasses import dataclass

import av

from avbench.clips import Clip
from avbench.errors import MediaError
from avbench.media.container import first_audio, first_video, open_media


@dataclass(frozen=True)
class Probe:
    """What the headers say. `audio` is "none" or says where the sound comes from; `problem` is None if fine."""

    picture: str = "none"
    audio: str = "none"
    duration: float | None = None
    problem: str | None = None


def probe_clip(clip: Clip) -> Probe:
    """Read the headers of a clip's file(s); a file that cannot be opened gives a `problem`."""
    try:
        with open_media(clip.video) as container:
            video, audio = first_video(container), first_audio(container)
            picture = "none" if video is None else f"{video.width}x{video.height} {video.codec_context.name}"
            sound = "none" if audio is None else f"embedded {audio.codec_context.name} {audio.rate} Hz"
            duration = container.duration / av.time_base if container.duration else None
        if clip.audio is not None:
            with open_media(clip.audio) as container:
                audio = first_audio(container)
                sound = "none" if audio is None else f"{clip.audio.name} {audio.rate} Hz"
    except MediaError as error:
        return Probe(problem=str(error))
    return Probe(picture, sound, duration, None if video is not None else "no picture track")
