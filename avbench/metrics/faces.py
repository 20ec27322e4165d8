"""Are faces in view, how many, how large? MTCNN on five frames of each second. Extra [models]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import EncoderStore
from avbench.encoders.face_tracks import FaceTrack, face_tracks
from avbench.encoders.networks.mtcnn.encoders import FACES, RATE, SAMPLING
from avbench.media import Media
from avbench.metrics.base import Score, scorer
from avbench.metrics.face_curves import boxes_over_time, longest

CONFIDENCE = 0.9
OVERLAP = 0.3
GAP = 5
"""Frames looked at, one second, for which a face may be lost."""
LEAST_DETECTIONS = 2


def faces_by_frame(rows: NDArray[np.float32], frames: int) -> list[NDArray[np.float32]]:
    """Boxes and probabilities (n, 5) of the sure faces in each of the frames looked at.

    Args:
        rows: number of the frame, box and probability of each face (N, 6).
        frames: how many were looked at.
    """
    sure = rows[rows[:, 5] >= CONFIDENCE]
    return [sure[sure[:, 0] == number, 1:] for number in range(frames)]


def _summary(track: FaceTrack, height: int, *, drawn: bool) -> dict[str, Any]:
    return {
        "begin_s": track.first / RATE,
        "end_s": (track.last + 1) / RATE,
        "detections": track.detections,
        "size_px": round(track.size, 1),
        "size_of_height": round(track.size / height, 4),
        **(boxes_over_time(track.boxes, 1 / RATE, 0.0) if drawn else {}),
    }


@scorer(
    "face_ratio",
    family="speech",
    unit="1",
    higher_is_better=None,
    range=(0.0, 1.0),
    source="own definition; MTCNN (Zhang et al., IEEE SPL 2016), weights of timesler/facenet-pytorch",
    needs=("video",),
    encoders=(FACES,),
    params={
        "frames_per_second": RATE,
        "confidence": CONFIDENCE,
        "overlap": OVERLAP,
        "gap": GAP,
        "least_detections": LEAST_DETECTIONS,
    },
    caveat="A detector: faces in profile, in the dark or under 20 of 640 pixels may be missed, and patterns taken for "
    "faces. The number of tracks is of faces seen without a break of a second, not of people.",
)
def face_ratio(media: Media, store: EncoderStore) -> Score:
    """Fraction of the clip in which a face is in view; the detail has number and size of the faces.

    Formula: frames with a face of probability 0.9 or more, over frames looked at, five per second.
    """
    assert media.video is not None
    frames = len(SAMPLING.indices(media.video.times, media.video.fps, media.video.end))
    if frames == 0:
        return Score.skipped("the video track holds no frame")
    faces = faces_by_frame(store.embed(FACES, media), frames)
    tracks = [track for track in face_tracks(faces, overlap=OVERLAP, gap=GAP) if track.detections >= LEAST_DETECTIONS]
    kept = longest([len(track.boxes) for track in tracks])
    height = media.video.height
    return Score.ok(
        sum(len(boxes) > 0 for boxes in faces) / frames,
        frames=frames,
        most_faces=max(len(boxes) for boxes in faces),
        tracks=len(tracks),
        faces=[_summary(track, height, drawn=position in kept) for position, track in enumerate(tracks)],
    )
