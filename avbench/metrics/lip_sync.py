"""Do the lips move with the voice? LSE-C, LSE-D and the offset of SyncNet v2. Extras [models] and [speech]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from avbench.encoders import EncoderStore
from avbench.encoders.networks.silero import SILERO
from avbench.encoders.networks.syncnet.encoders import LEAST_DETECTIONS, LIPS, SMALLEST_FACE
from avbench.encoders.networks.syncnet.lip_tracks import LipTrack, LipTracks
from avbench.encoders.networks.syncnet.windows import FPS, REACH
from avbench.media import Media
from avbench.metrics.base import Score, scorer
from avbench.metrics.lip_distances import LipReading, read_lips
from avbench.metrics.speech import NO_SPEECH, speech_stretches

LEAST_ROWS = 2 * REACH
"""Windows of a face that a score needs: at the largest shift half of them have sound."""
OFF_SCREEN = "speech, but no face in view: an off-screen voice?"
OTHER_TIME = "speech, but none while a face is in view: an off-screen voice?"
SMALL_FACE = f"no face of more than {SMALLEST_FACE} pixels for {LEAST_DETECTIONS} frames at {FPS} per second"
SHORT_SOUND = "the sound ends before lips can be compared with it"
_BOXES_EVERY = 5

PAPER = "SyncNet (Chung & Zisserman, ACCV workshops 2016)"
NAMES = "names of Wav2Lip (Prajwal et al., ACM MM 2020)"
CAVEAT = (
    "Trained on British television: drawn faces, profiles and singing are outside of what it knows. A clip without a "
    "usable face is skipped, so that a model which draws none is not punished here: read the number of scored clips "
    "beside every mean."
)
FACTS: dict[str, Any] = {"family": "speech", "needs": ("video", "audio")}
PARAMS: dict[str, Any] = {
    "mode": "fixed",
    "frames": "25 fps as FFmpeg's fps filter",
    "detector": "s3fd",
    "least_detections": LEAST_DETECTIONS,
    "min_face_px": SMALLEST_FACE,
    "least_windows": LEAST_ROWS,
}


@dataclass(frozen=True)
class Face:
    """A face of a clip with what its distances say."""

    track: LipTrack
    reading: LipReading
    begin: float
    end: float

    def summary(self) -> dict[str, Any]:
        """Its numbers for the detail of a score; the offset is positive where the sound is late."""
        return {
            "begin_s": round(self.begin, 3),
            "end_s": round(self.end, 3),
            "size_px": round(self.track.size, 1),
            "detections": self.track.detections,
            "windows": len(self.track.distances),
            "confidence": round(self.reading.confidence, 4),
            "distance": round(self.reading.distance, 4),
            "offset_s": round(self.reading.shift / FPS, 2),
        }


def read_faces(found: LipTracks, tracks: Sequence[LipTrack], *, zero_rows: bool) -> list[Face]:
    """The readings of tracks of a clip that have windows."""
    return [
        Face(track, read_lips(track.distances, zero_rows=zero_rows), *found.seconds(track))
        for track in tracks
        if len(track.distances)
    ]


def no_track(found: LipTracks) -> str:
    """Why a clip with speech has no face to compare with it."""
    return SMALL_FACE if found.with_face else OFF_SCREEN


def _speaks(track: LipTrack, found: LipTracks, stretches: Sequence[tuple[float, float]], sound_start: float) -> bool:
    begin, end = found.seconds(track)
    return any(sound_start + first < end and sound_start + last > begin for first, last in stretches)


def _speaker(media: Media, store: EncoderStore) -> tuple[Face, dict[str, Any]] | Score:
    """The face whose lips go best with the sound, among those in view while somebody speaks; or why there is none."""
    assert media.audio is not None
    stretches = speech_stretches(media, store)
    if not stretches:
        return Score.skipped(NO_SPEECH)
    found = LipTracks.from_array(store.embed(LIPS, media))
    counts = {"frames": found.frames, "frames_with_face": found.with_face, "tracks": len(found.tracks)}
    if not found.tracks:
        return Score.skipped(no_track(found), **counts)
    speaking = [track for track in found.tracks if _speaks(track, found, stretches, media.audio.start)]
    if not speaking:
        return Score.skipped(OTHER_TIME, **counts)
    long_enough = [track for track in speaking if len(track.distances) >= LEAST_ROWS]
    if not long_enough:
        return Score.skipped(SHORT_SOUND, **counts)
    faces = read_faces(found, long_enough, zero_rows=False)
    best = max(range(len(faces)), key=lambda index: faces[index].reading.confidence)
    detail = {**counts, "faces": [face.summary() for face in faces], "chosen": best}
    return faces[best], detail


def _curves(face: Face) -> dict[str, Any]:
    """What a report draws: the boxes of the face each 0.2 s, and its confidence over time."""
    return {
        "boxes": [[round(float(edge), 1) for edge in box] for box in face.track.boxes[::_BOXES_EVERY]],
        "boxes_every_s": _BOXES_EVERY / FPS,
        "framewise": [round(float(value), 3) for value in face.reading.framewise],
        "framewise_begin_s": round(face.begin + face.reading.first / FPS, 3),
        "framewise_every_s": 1 / FPS,
    }


@scorer(
    "lse_c",
    unit="1",
    higher_is_better=True,
    range=(0.0, math.inf),
    source=f"{PAPER}; {NAMES}; rules for tracks, ends and speech of this project",
    encoders=(SILERO, LIPS),
    params=PARAMS,
    caveat=CAVEAT,
    **FACTS,
)
def lse_c(media: Media, store: EncoderStore) -> Score:
    """Confidence that the lips of the best face go with the sound at one offset.

    Formula: median m - min m over shifts of -15 to 15 frames of 40 ms, m being the mean distance of SyncNet's
    embeddings of lips and sound over the windows that have sound at that shift. Of several faces in view while somebody
    speaks, the one with the largest value counts; the detail has all.
    """
    speaker = _speaker(media, store)
    if isinstance(speaker, Score):
        return speaker
    face, detail = speaker
    return Score.ok(face.reading.confidence, **detail, **_curves(face))


@scorer(
    "lse_d",
    unit="1",
    higher_is_better=False,
    range=(0.0, math.inf),
    source=f"{PAPER}; {NAMES}; rules for tracks, ends and speech of this project",
    encoders=(SILERO, LIPS),
    params=PARAMS,
    caveat=CAVEAT,
    **FACTS,
)
def lse_d(media: Media, store: EncoderStore) -> Score:
    """Distance of lips and sound at the best offset, of the face that lse_c chooses.

    Formula: min m, as in lse_c.
    """
    speaker = _speaker(media, store)
    if isinstance(speaker, Score):
        return speaker
    face, detail = speaker
    return Score.ok(face.reading.distance, **detail)


@scorer(
    "sync_offset",
    unit="s",
    higher_is_better=None,
    range=(-REACH / FPS, REACH / FPS),
    source=f"{PAPER}; the sign of av_offset",
    encoders=(SILERO, LIPS),
    params=PARAMS,
    caveat="In steps of 0.04 s; zero is best. Where the confidence (in the detail) is low the offset says nothing; no "
    "threshold is set, since none could be found without the trained weights. " + CAVEAT,
    **FACTS,
)
def sync_offset(media: Media, store: EncoderStore) -> Score:
    """Lag of the voice behind the lips, of the face that lse_c chooses; positive means that the voice is late.

    Formula: shift of the smallest m of lse_c. At the last shift on either side the smallest value may lie beyond, and
    the clip is skipped.
    """
    speaker = _speaker(media, store)
    if isinstance(speaker, Score):
        return speaker
    face, detail = speaker
    if abs(face.reading.shift) == REACH:
        return Score.skipped(f"no offset within {REACH / FPS:g} s stands out", **detail)
    return Score.ok(face.reading.shift / FPS, confidence=face.reading.confidence, **detail)
