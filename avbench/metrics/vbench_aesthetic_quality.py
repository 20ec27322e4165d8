"""Aesthetic quality as VBench defines it: LAION's predictor on every frame."""

from __future__ import annotations

import math

from avbench.encoders import EncoderStore
from avbench.encoders.networks.aesthetic import AESTHETIC_FRAMES
from avbench.media import Media
from avbench.metrics.base import Score, scorer


@scorer(
    "aesthetic_quality",
    family="vbench",
    unit="1",
    higher_is_better=True,
    range=(-math.inf, math.inf),
    source="VBench (Huang et al., CVPR 2024), section 3.1 and vbench/aesthetic_quality.py; LAION aesthetic predictor",
    needs=("video",),
    encoders=(AESTHETIC_FRAMES,),
    caveat="The taste of those who rated images on the web: paintings and dramatic light score high. Frames are "
    "judged one by one, in the central square. On a GPU the reference runs CLIP in half precision.",
)
def aesthetic_quality(media: Media, store: EncoderStore) -> Score:
    """How beautiful the frames are according to LAION's predictor.

    Formula: mean over all frames of r / 10, r being a linear function of CLIP ViT-L/14's unit feature, trained on
    ratings from 1 to 10.
    About 0 to 1; nothing bounds it.
    """
    ratings = store.embed(AESTHETIC_FRAMES, media)  # (T,)
    return Score.ok(float(ratings.mean(dtype="float64")) / 10, frames=len(ratings))
