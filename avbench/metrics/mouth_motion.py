"""Does a mouth move? FaceMesh on the faces that MTCNN finds. Extra [models]."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import EncoderStore
from avbench.encoders.networks.facemesh.encoders import CONFIDENCE, FACES_EVERY, MOUTHS, RATE
from avbench.media import Media
from avbench.metrics.base import Score, scorer

LEAST_S = 1.0
"""Seconds for which a face must be followed."""
LOWEST_FLAG = 0.0
"""Mean logit below which the mesh does not lie on a face; those of faces in profile are there."""
NO_FACE = f"no face is in view for {LEAST_S:g} s"
PROFILE = "faces in profile only: the mesh does not fit them"


def _faces(rows: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Time, mean flag and motion of each face that is followed for long enough."""
    each = (rows[rows[:, 0] == number] for number in np.unique(rows[:, 0]))
    return [
        {
            "begin_s": round(float(face[0, 1]) / RATE, 3),
            "end_s": round((float(face[-1, 1]) + 1) / RATE, 3),
            "flag": round(float(face[:, 3].mean(dtype=np.float64)), 3),
            "motion": round(float(face[:, 2].std(dtype=np.float64)), 5),
            "opening": round(float(face[:, 2].mean(dtype=np.float64)), 5),
        }
        for face in each
        if len(face) >= LEAST_S * RATE
    ]


@scorer(
    "mouth_motion",
    family="speech",
    unit="1",
    higher_is_better=None,
    range=(0.0, math.inf),
    source="own definition; FaceMesh (Kartynnik et al., arXiv 1907.06724) on faces of MTCNN (Zhang et al. 2016)",
    needs=("video",),
    encoders=(MOUTHS,),
    params={
        "frames_per_second": RATE,
        "faces_every": FACES_EVERY,
        "confidence": CONFIDENCE,
        "least_s": LEAST_S,
        "lowest_flag": LOWEST_FLAG,
    },
    caveat="A diagnosis: it hears nothing, and chewing or laughing moves a mouth as speech does. Faces in profile are "
    "left out. It is no offset: lags between mouth and sound cannot be read from clips of five seconds.",
)
def mouth_motion(media: Media, store: EncoderStore) -> Score:
    """How much the mouth that moves most opens and closes; the detail has every face.

    Formula: standard deviation over frames, ten per second, of the distance of the lips over the height of the face
    (points 13 and 14 over 10 and 152 of the mesh).
    """
    faces = _faces(store.embed(MOUTHS, media))
    if not faces:
        return Score.skipped(NO_FACE)
    usable = [face for face in faces if face["flag"] >= LOWEST_FLAG]
    if not usable:
        return Score.skipped(PROFILE, faces=faces)
    return Score.ok(max(face["motion"] for face in usable), faces=faces)
