"""Clips as whole arrays, which corruptions work on, each with the clips that give it their sound and prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avbench.clips import Expected, Prompt
from avbench.errors import MediaError
from avbench.media import Frames, Limits, Media, Waveform, decode_clip
from avbench.media.options import DecodeOptions
from avbench.run.content import unchanged
from avbench.run.jobs import ClipJob

Pixels = NDArray[np.uint8]

_AUDIO = Waveform(rate=None, mono=False, limit=False)


@dataclass(frozen=True)
class Shrink:
    """Makes a frame smaller so that its long side has `size` pixels; never larger, and 0 keeps it."""

    size: int

    def __call__(self, frame: Pixels) -> Pixels:
        """(H, W, 3) -> (h, w, 3)."""
        height, width = frame.shape[:2]
        scale = self.size / max(height, width)
        if self.size == 0 or scale >= 1:
            return frame
        target = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(cv2.resize(frame, target, interpolation=cv2.INTER_AREA), dtype=np.uint8)


@dataclass(frozen=True)
class Case:
    """One decoded clip.

    Attributes:
        media: tracks and problems; its arrays wait on disk, see `open_arrays`.
        donor: another clip that gives its sound, or None.
        prompt: the prompt of another clip, or None.
    """

    job: ClipJob
    media: Media
    donor: Media | None
    prompt: Prompt | None


def decode_cases(
    jobs: Sequence[ClipJob], seconds: float, size: int, spool: Path, limits: Limits | None = None
) -> list[Case]:
    """Decode each clip once into arrays below `spool`: all frames of the first `seconds`, and their sound.

    Frame times, start times and rates stay as they are. A track that cannot be decoded is a problem of the clip, as in
    a run.

    Args:
        jobs: the clips.
        seconds: from the start of each track.
        size: pixels of the long side, see `Shrink`.
        spool: folder that outlives the result.
        limits: what one clip may cost; the defaults unless given.
    """
    limits = limits or Limits()
    media = [_decode(job, seconds, size, spool, limits) for job in jobs]
    cases = []
    for index, (job, clip_media) in enumerate(zip(jobs, media, strict=True)):
        others = [(jobs[k].clip, media[k]) for k in (*range(index + 1, len(jobs)), *range(index))]
        # Another sound to the same video is another take, not another clip.
        others = [(clip, other) for clip, other in others if clip.video != job.clip.video]
        donor = next((other for _, other in others if other.audio is not None), None)
        stated = (clip.prompt for clip, _ in others if _says_something(clip.prompt))
        prompt = next((p for p in stated if not _same_texts(p, job.clip.prompt)), None)
        cases.append(Case(job, clip_media, donor, prompt))
    return cases


def open_arrays(media: Media) -> Media:
    """A decoded clip with its arrays, memory-mapped: frames as uint8 (T, H, W, 3), sound as float32 (C, N)."""
    opened = replace(media, views={}, failures={})
    if media.video is not None:
        opened.frames = media.view(next(view for view in media.views if isinstance(view, Frames)))
        opened.video = replace(media.video, height=opened.frames.shape[1], width=opened.frames.shape[2])
    if media.audio is not None:
        opened.waveform = media.view(_AUDIO)
    return opened


def _decode(job: ClipJob, seconds: float, size: int, spool: Path, limits: Limits) -> Media:
    key = f"{job.sha256}:{seconds:g}s:{size}px"
    views = (Frames(transform=Shrink(size)), _AUDIO)
    try:
        with unchanged(job.clip, job.content):
            return decode_clip(job.clip, key, views, DecodeOptions(seconds=seconds, spool=spool, limits=limits))
    except MediaError as error:
        return Media(key, None, None, {"video": str(error), "audio": str(error)})


def _says_something(prompt: Prompt) -> bool:
    # What must be seen may be named without any text.
    return not prompt.is_empty or prompt.expected != Expected()


def _same_texts(one: Prompt, other: Prompt) -> bool:
    return replace(one, prompt_id=None) == replace(other, prompt_id=None)
