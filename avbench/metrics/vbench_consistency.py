"""Subject and background consistency as VBench defines them: how little features of the frames change."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.clip import CLIP_EVERY_FRAME
from avbench.encoders.networks.dino.encoders import DINO_FRAMES
from avbench.media import Media
from avbench.metrics.base import Score, scorer

_METADATA: dict[str, Any] = {
    "family": "vbench",
    "unit": "1",
    "higher_is_better": True,
    "range": (0.0, 1.0),
    "needs": ["video"],
}


def similarities(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Similarity of each frame but the first to those before it (T - 1,), 0 to 1, from features (T, D).

    Mean of the cosines with the previous and with the first frame, negative ones counted as 0.
    """
    units = features.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    previous = (units[1:] * units[:-1]).sum(axis=1)
    first = units[1:] @ units[0]
    return np.asarray((np.clip(previous, 0, 1) + np.clip(first, 0, 1)) / 2)


def _score(media: Media, store: EncoderStore, encoder: Encoder) -> Score:
    assert media.video is not None
    if len(media.video.times) < 2:
        return Score.skipped("needs at least 2 frames")
    each = similarities(store.embed(encoder, media))
    return Score.ok(float(each.mean()), pairs=len(each))


@scorer(
    "subject_consistency",
    encoders=(DINO_FRAMES,),
    source="VBench (Huang et al., CVPR 2024), section 3.1 and vbench/subject_consistency.py",
    caveat="A still scores 1: read it beside dynamic_degree. Cuts and camera motion cost as much as a subject that "
    "changes, and everything in the frame is judged, not only the subject.",
    **_METADATA,
)
def subject_consistency(media: Media, store: EncoderStore) -> Score:
    """How little DINO's features of the frames change.

    Formula: mean over t >= 1 of (max(0, cos(f_t, f_t-1)) + max(0, cos(f_t, f_0))) / 2, f_t being DINO ViT-B/16's class
    token of frame t.
    1 is no change at all.
    """
    return _score(media, store, DINO_FRAMES)


@scorer(
    "background_consistency",
    encoders=(CLIP_EVERY_FRAME,),
    source="VBench (Huang et al., CVPR 2024), section 3.1 and vbench/background_consistency.py",
    caveat="A still scores 1: read it beside dynamic_degree. Nothing separates background from foreground: CLIP sees "
    "the central square of the frame. On a GPU the reference runs in half precision, a grid of 0.0005 just below 1.",
    **_METADATA,
)
def background_consistency(media: Media, store: EncoderStore) -> Score:
    """How little CLIP's features of the frames change.

    Formula: mean over t >= 1 of (max(0, cos(f_t, f_t-1)) + max(0, cos(f_t, f_0))) / 2, f_t being CLIP ViT-B/32's
    feature of frame t.
    1 is no change at all.
    """
    return _score(media, store, CLIP_EVERY_FRAME)
