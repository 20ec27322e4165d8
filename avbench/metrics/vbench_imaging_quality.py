"""Imaging quality as VBench defines it: MUSIQ on every frame."""

from __future__ import annotations

import math

from avbench.encoders import EncoderStore
from avbench.encoders.networks.musiq.encoders import MUSIQ_FRAMES
from avbench.encoders.networks.musiq.sizes import is_too_narrow
from avbench.media import Media
from avbench.metrics.base import Score, scorer


@scorer(
    "imaging_quality",
    family="vbench",
    unit="1",
    higher_is_better=True,
    range=(-math.inf, math.inf),
    source="VBench (Huang et al., CVPR 2024), section 3.1 and vbench/imaging_quality.py; MUSIQ, arXiv 2108.05997",
    needs=("video",),
    encoders=(MUSIQ_FRAMES,),
    caveat="Trained on photographs of smartphones: blur, noise and bad exposure cost, whether they were asked for or "
    "not. Frames are judged one by one, with the longer side at most 512 pixels, so finer detail counts for nothing.",
)
def imaging_quality(media: Media, store: EncoderStore) -> Score:
    """Technical quality of the frames according to MUSIQ trained on SPAQ.

    Formula: mean over all frames of r / 100, r being MUSIQ's rating of the frame.
    About 0 to 1; nothing bounds it. VBench's list of clips has r itself, its value for a set r / 100.
    """
    assert media.video is not None
    height, width = media.video.height, media.video.width
    if is_too_narrow(height, width):
        return Score.skipped(f"{width} x {height} pixels: too narrow to be shrunk to 224 pixels")
    ratings = store.embed(MUSIQ_FRAMES, media)  # (T,)
    return Score.ok(float(ratings.mean(dtype="float64")) / 100, frames=len(ratings))
