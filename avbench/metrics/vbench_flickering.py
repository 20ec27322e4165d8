"""Temporal flickering as VBench defines it."""

from __future__ import annotations

import math

import cv2

from avbench.media import Frame, FrameSeries, Media
from avbench.metrics.base import Score, scorer


def _rgb_difference(previous: Frame | None, frame: Frame) -> tuple[float, ...]:
    """Mean absolute difference over all pixels and channels, 0..255; NaN at the first frame."""
    if previous is None:
        return (math.nan,)
    return (cv2.norm(previous.rgb, frame.rgb, cv2.NORM_L1) / frame.rgb.size,)


RGB_DIFFERENCE = FrameSeries("rgb difference", _rgb_difference)


@scorer(
    "temporal_flickering",
    family="picture",
    unit="1",
    higher_is_better=True,
    range=(0.0, 1.0),
    source="VBench (Huang et al., CVPR 2024), section 3.1 and vbench/temporal_flickering.py",
    needs=("video",),
    views=(RGB_DIFFERENCE,),
    caveat="A frozen video scores 1, and all motion costs; VBench applies it to static scenes only.",
)
def temporal_flickering(media: Media) -> Score:
    """Closeness of neighbouring frames.

    Formula: (255 - m) / 255, m being the mean over neighbouring pairs of the mean of |a - b| over all pixels
    and the three RGB channels.
    1 is no change at all.
    """
    differences = media.view(RGB_DIFFERENCE)[1:, 0]  # (T - 1,)
    if len(differences) == 0:
        return Score.skipped("needs at least 2 frames")
    return Score.ok((255.0 - float(differences.mean())) / 255.0, pairs=len(differences))
