"""Measures of the crowd's clips that are never rewarded; see `omninft_train.miniature.heldout`."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from omninft_train.miniature.crowd.judges import look_around, mean_speed
from omninft_train.miniature.crowd.prompts import Cast, understand
from omninft_train.miniature.crowd.scenes import draw_scene, render_scenes
from omninft_train.miniature.hearing import heard_impacts, seen_impacts
from omninft_train.miniature.heldout import contact_times, interval_distance
from omninft_train.miniature.judges import Frames, Waveform, agreement
from omninft_train.models.backbone import Decoded
from omninft_train.prompts import TrainPrompt

HELD_OUT = (
    "av_align",
    "omninft_train.miniature.crowd.heldout:speed",
    "omninft_train.miniature.crowd.heldout:impacts",
    "omninft_train.miniature.crowd.heldout:silent_sync",
    "omninft_train.miniature.heldout:level",
)
"""AV-Align of avbench, and functions of both worlds, as rewards are named."""
_SCENES = 2**40  # scenes for comparison are numbered from here on, apart from those of pretraining and tests


def speed(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Mean speed of the sounding shape in pixels per second; no value is better than another."""
    return mean_speed(look_around(frames, understand(prompt_text)).sounding, fps)


def impacts(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Contacts of the sounding shape that are seen, per second."""
    return len(_impact_times(frames, fps, understand(prompt_text))) * fps / len(frames)


def silent_sync(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Agreement of silent shapes' contacts with the sound, as `sync` measures it; real scenes have that of chance."""
    cast = understand(prompt_text)
    crowd = look_around(frames, cast)
    heard = heard_impacts(waveform, sample_rate)
    return fmean(agreement(seen_impacts(crowd.shapes[shape], fps), heard, fps) for shape in cast.silent)


for _measure in (speed, impacts, silent_sync):  # they show where a policy drifts; no direction is the better one
    _measure.higher_is_better = None  # type: ignore[attr-defined]


def clip_impacts(clip: Decoded, prompt: TrainPrompt) -> list[float]:
    """Seconds at which contacts of the sounding shape are seen in a clip."""
    return [float(time) for time in _impact_times(clip.frames, clip.fps, understand(prompt.prompt_av))]


def impact_distance(impacts: Sequence[Sequence[float]], prompts: Sequence[TrainPrompt], scenes: int = 4) -> float:
    """Distance of intervals between contacts of the sounding shape from those of real scenes, in seconds.

    As `omninft_train.miniature.heldout.impact_distance`.
    """
    real = []
    for index, prompt in enumerate(prompts):
        cast = understand(prompt.prompt_av)
        drawn = [draw_scene(_SCENES + index * scenes + scene, cast) for scene in range(scenes)]
        real += [clip_impacts(clip, prompt) for clip in render_scenes(drawn)]
    return interval_distance(impacts, real)


def _impact_times(frames: Frames, fps: float, cast: Cast) -> NDArray[np.float64]:
    return contact_times(look_around(frames, cast).sounding, fps)
