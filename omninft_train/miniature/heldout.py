"""Measures of miniature clips that are never rewarded, to see whether a policy that scores better also is better.

Functions of one clip have the form of a reward and are given weight 0; `impact_distance` compares sets of clips by
the times that `clip_impacts` finds in each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks
from scipy.stats import wasserstein_distance

from omninft_train.miniature.hearing import Sight, look, seen_impacts
from omninft_train.miniature.judges import Frames, Waveform
from omninft_train.miniature.render import render_scenes
from omninft_train.miniature.world import draw_scene, understand
from omninft_train.models.backbone import Decoded
from omninft_train.prompts import TrainPrompt

HELD_OUT = (
    "av_align",
    "omninft_train.miniature.heldout:speed",
    "omninft_train.miniature.heldout:impacts",
    "omninft_train.miniature.heldout:level",
)
"""AV-Align of avbench, and the functions of this module, as rewards are named."""
# A change of velocity of this many pixels per frame is a contact; noise of the centre stays below one.
_LEAST_BEND = 2.5
# Scenes for comparison are numbered from here on, apart from those of pretraining and tests.
_SCENES = 2**40


def speed(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Mean speed of the shape in pixels per second; no value is better. Nine of ten real scenes have 24 to 71."""
    centre = look(frames).centre.astype(np.float64)
    return float(np.hypot(*np.diff(centre, axis=0).T).mean() * fps)


def impacts(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Contacts that are seen, per second."""
    return len(impact_times(frames, fps)) * fps / len(frames)


def level(frames: Frames, fps: float, waveform: Waveform, sample_rate: int, prompt_text: str) -> float:
    """Root mean square of the sound in decibels below full scale."""
    return 20 * math.log10(float(np.sqrt(np.square(waveform, dtype=np.float64).mean())) + 1e-6)


for _measure in (speed, impacts, level):  # they show where a policy drifts; no direction is the better one
    _measure.higher_is_better = None  # type: ignore[attr-defined]


def impact_times(frames: Frames, fps: float) -> NDArray[np.float64]:
    """Seconds at which contacts are seen."""
    return contact_times(look(frames), fps)


def contact_times(sight: Sight, fps: float) -> NDArray[np.float64]:
    """Seconds at which a shape is seen to touch something."""
    bends = seen_impacts(sight, fps)
    # A contact between two frames bends the path at both; the padding lets the first and the last value be peaks.
    pairs = np.convolve(np.pad(bends.values, 1), np.ones(2), mode="valid")
    peaks, _ = find_peaks(np.pad(pairs, 1), height=_LEAST_BEND, distance=2)
    return np.asarray((peaks - 1.5) / fps + bends.times[0], np.float64) if len(bends.times) else np.zeros(0)


def clip_impacts(clip: Decoded, prompt: TrainPrompt) -> list[float]:
    """Seconds at which contacts are seen in a clip."""
    return [float(time) for time in impact_times(clip.frames, clip.fps)]


def impact_distance(impacts: Sequence[Sequence[float]], prompts: Sequence[TrainPrompt], scenes: int = 4) -> float:
    """Distance of seen intervals between contacts from those of real scenes of the same prompts, in seconds.

    Wasserstein's distance of the two distributions over all clips; smaller is better, real scenes have below 0.02 among
    themselves.

    Args:
        impacts: of B clips, as `clip_impacts` gives them.
        prompts: the prompt of each.
        scenes: real scenes for each clip.

    Returns:
        Not a number if no clip has two contacts.
    """
    real = []
    for index, prompt in enumerate(prompts):  # a few scenes at a time: there may be any number of clips
        subject = understand(prompt.prompt_av)
        drawn = [draw_scene(_SCENES + index * scenes + scene, subject) for scene in range(scenes)]
        real += [clip_impacts(clip, prompt) for clip in render_scenes(drawn)]
    return interval_distance(impacts, real)


def interval_distance(generated: Sequence[Sequence[float]], real: Sequence[Sequence[float]]) -> float:
    """Wasserstein's distance of intervals between the times of clips; not a number where either side has none."""
    a, b = (np.concatenate([np.diff(np.asarray(times)) for times in side]) for side in (generated, real))
    return float(wasserstein_distance(a, b)) if len(a) and len(b) else math.nan
