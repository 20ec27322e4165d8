"""Motion smoothness as VBench defines it: can every other frame be guessed from its neighbours? By AMT-S."""

from __future__ import annotations

from typing import Any

import numpy as np

from avbench.encoders import EncoderStore
from avbench.encoders.networks.amt.encoders import GUESSES, SMALLEST, guessed
from avbench.media import Media
from avbench.metrics.base import Score, scorer

_METADATA: dict[str, Any] = {
    "family": "vbench",
    "unit": "1",
    "higher_is_better": True,
    "range": (0.0, 1.0),
    "source": "VBench (Huang et al., CVPR 2024) and vbench/motion_smoothness.py; AMT, arXiv 2304.09790",
    "needs": ("video",),
    "encoders": (GUESSES,),
}
_CAVEAT = (
    "A still clip is perfect, blur helps, and current generators lie within 0.01 of each other. Guesses are cut to "
    "whole levels as in the reference, so a still clip may miss 1 by 0.004; the detail has the value with rounded "
    "guesses. "
)


def smoothness(differences: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    """1 - mean of differences (P,) in 8-bit levels / 255."""
    return (255.0 - float(differences.mean(dtype=np.float64))) / 255.0


def _score(media: Media, store: EncoderStore) -> Score:
    assert media.video is not None
    frames = len(media.video.times)
    if not guessed(frames):
        return Score.skipped(f"{frames} frames; at least 3 needed")
    differences = store.embed(GUESSES, media)  # (P, 2)
    worst = int(differences[:, 0].argmax())
    return Score.ok(
        smoothness(differences[:, 0]),
        guessed_frames=len(differences),
        rounded=smoothness(differences[:, 1]),
        worst=smoothness(differences[worst : worst + 1, 0]),
        worst_at_s=float(media.video.times[guessed(frames)[worst]]),
    )


@scorer("motion_smoothness", params={"mode": "fixed"}, caveat=_CAVEAT, **_METADATA)
def motion_smoothness(media: Media, store: EncoderStore) -> Score:
    """Closeness of frames to an interpolation of their neighbours.

    Formula: 1 - m / 255; m is the mean over frames 1, 3, 5 ... of the mean of |frame - guess| over pixels and RGB
    channels, the guess being the frame of AMT-S halfway between the frames before and after, cut to 8 bit.
    """
    assert media.video is not None
    if min(media.video.height, media.video.width) < SMALLEST:
        return Score.skipped(f"a side below {SMALLEST} pixels: AMT finds no flow")
    return _score(media, store)


@scorer(
    "motion_smoothness_compat",
    params={"mode": "compat", "flags": "amt_small_black"},
    caveat="Small frames get their darkness for a score. " + _CAVEAT,
    **_METADATA,
)
def motion_smoothness_compat(media: Media, store: EncoderStore) -> Score:
    """Closeness of frames to an interpolation of their neighbours, as the reference gives it for every clip."""
    return _score(media, store)
