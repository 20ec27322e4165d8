"""Lip sync as public pipelines report it: joonson/syncnet_python, Wav2Lip, LatentSync."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from avbench.encoders import EncoderStore
from avbench.encoders.networks.syncnet.encoders import LIPS
from avbench.encoders.networks.syncnet.lip_tracks import LipTracks
from avbench.encoders.networks.syncnet.windows import REACH
from avbench.media import Media
from avbench.metrics.base import Score, Scorer, scorer
from avbench.metrics.lip_sync import (
    CAVEAT,
    METADATA,
    NAMES,
    PAPER,
    PARAMS,
    SMALL_FACE,
    SMALL_FRAMES,
    Face,
    is_too_small,
    read_faces,
)

Pick = Callable[[Sequence[float]], float]


@dataclass(frozen=True)
class Pipeline:
    """What distinguishes a pipeline from the others.

    Attributes:
        source: project and commit.
        min_track: detections of which a track has more.
        flag: which of the tracks of a clip count.
        pick: number of a clip, of the numbers of its tracks.
    """

    source: str
    min_track: int
    flag: str
    pick: Pick


def _first(values: Sequence[float]) -> float:
    return values[0]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


PIPELINES = {
    "joonson": Pipeline("joonson/syncnet_python 6efbb1c", 100, "lse_first_track", _first),
    "wav2lip": Pipeline("Rudrabha/Wav2Lip 5c90fa9, evaluation of real videos", 100, "lse_mean_of_tracks", _mean),
    "latentsync": Pipeline("bytedance/LatentSync a229c39", 50, "lse_mean_of_tracks", _mean),
}


def _faces(media: Media, store: EncoderStore, min_track: int) -> list[Face] | Score:
    if is_too_small(media):
        return Score.skipped(SMALL_FRAMES)
    lips = LipTracks.from_array(store.embed(LIPS, media))
    long = [track for track in lips.tracks if track.detections > min_track]
    faces = read_faces(lips, long, zero_rows=True)
    if faces:
        return faces
    return Score.skipped(_no_face(lips, min_track), frames=lips.frames, frames_with_face=lips.with_face)


def _no_face(lips: LipTracks, min_track: int) -> str:
    """Why no face counts; whether anybody speaks was not asked."""
    if lips.tracks:
        return f"no track of more than {min_track} detections"
    return SMALL_FACE if lips.with_face else "no face in view"


def _confidence(face: Face) -> float:
    return face.reading.confidence


def _distance(face: Face) -> float:
    return face.reading.distance


def _reference_offset(face: Face) -> float:
    """In frames, positive where the sound is early."""
    return -float(face.reading.shift)


def _register(
    name: str,
    pipeline: Pipeline,
    value: Callable[[Face], float],
    summary: str,
    *,
    pick: Pick | None = None,
    flags: str = "",
    **metadata: Any,
) -> Scorer:
    choose = pick or pipeline.pick

    def score(media: Media, store: EncoderStore) -> Score:
        faces = _faces(media, store, pipeline.min_track)
        if isinstance(faces, Score):
            return faces
        return Score.ok(choose([value(face) for face in faces]), faces=[face.summary() for face in faces])

    score.__doc__ = summary
    shared = {key: PARAMS[key] for key in ("frames", "detector", "min_face_px")}
    all_flags = f"lse_zero_rows,lse_without_speech,{pipeline.flag}{flags}"
    return scorer(
        name,
        source=f"{PAPER}; {NAMES}; {pipeline.source}",
        encoders=(LIPS,),
        params={**shared, "mode": "compat", "min_track": pipeline.min_track, "flags": all_flags},
        **metadata,
        **METADATA,
    )(score)


_LOSSY = (
    "The pipeline codes the clip up to four times with loss before it looks, and its file shows the video up to one "
    "frame later; that is not repeated here, so the last digits differ. "
)


def _confidences(which: str) -> Scorer:
    return _register(
        f"lse_c_{which}_compat",
        PIPELINES[which],
        _confidence,
        f"Confidence of SyncNet as {PIPELINES[which].source.split(' ')[0]} reports it.",
        unit="1",
        higher_is_better=True,
        range=(0.0, math.inf),
        caveat=_LOSSY + CAVEAT,
    )


def _distances(which: str) -> Scorer:
    return _register(
        f"lse_d_{which}_compat",
        PIPELINES[which],
        _distance,
        f"Distance of SyncNet as {PIPELINES[which].source.split(' ')[0]} reports it.",
        unit="1",
        higher_is_better=False,
        range=(0.0, math.inf),
        caveat=_LOSSY + CAVEAT,
    )


def _offsets(which: str, pick: Pick | None = None) -> Scorer:
    return _register(
        f"sync_offset_{which}_compat",
        PIPELINES[which],
        _reference_offset,
        f"Offset as {PIPELINES[which].source.split(' ')[0]} reports it: frames of 40 ms, positive where the voice is "
        "early.",
        pick=pick,
        flags=",sync_offset_opposite_sign",
        unit="frame",
        higher_is_better=None,
        range=(-float(REACH), float(REACH)),
        caveat="The opposite sign of sync_offset; zero is best. An offset of 15 either way is kept, and often made "
        "by the windows without sound. " + _LOSSY + CAVEAT,
    )


def _whole_mean(values: Sequence[float]) -> float:
    return float(math.trunc(_mean(values)))


lse_c_joonson_compat, lse_c_wav2lip_compat, lse_c_latentsync_compat = map(_confidences, PIPELINES)
# LatentSync reports no distance.
lse_d_joonson_compat, lse_d_wav2lip_compat = map(_distances, ("joonson", "wav2lip"))
sync_offset_joonson_compat = _offsets("joonson")
sync_offset_latentsync_compat = _offsets("latentsync", _whole_mean)
