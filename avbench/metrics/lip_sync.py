"""Do the lips move with the voice? LSE-C, LSE-D and the offset of SyncNet v2. Extras [models] and [speech]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from avbench.encoders import EncoderStore
from avbench.encoders.networks.s3fd.sizes import SMALLEST_FRAME
from avbench.encoders.networks.silero import SILERO
from avbench.encoders.networks.syncnet.encoders import LEAST_DETECTIONS, LIPS, SMALLEST_FACE
from avbench.encoders.networks.syncnet.lip_tracks import LipTrack, LipTracks
from avbench.encoders.networks.syncnet.windows import FPS, REACH
from avbench.media import Media
from avbench.metrics.base import Score, scorer
from avbench.metrics.face_curves import boxes_over_time, longest, thinned
from avbench.metrics.lip_distances import LipReading, read_lips
from avbench.metrics.speech import NO_SPEECH, speech_stretches

LEAST_ROWS = 2 * REACH
"""Windows of a face that a score needs: at the largest shift half of them have sound."""
OFF_SCREEN = "speech, but no face in view: an off-screen voice?"
OTHER_TIME = "speech, but none while a face is in view: an off-screen voice?"
SMALL_FACE = f"no face of more than {SMALLEST_FACE} pixels for {LEAST_DETECTIONS} frames at {FPS} per second"
SMALL_FRAMES = f"frames below {SMALLEST_FRAME} pixels: too small for the detector of faces"
SHORT_AUDIO = "the sound ends before lips can be compared with it"
_BOX_SECONDS = 0.2

PAPER = "SyncNet (Chung & Zisserman, ACCV workshops 2016)"
NAMES = "names of Wav2Lip (Prajwal et al., ACM MM 2020)"
CAVEAT = (
    "Trained on British television: drawn faces, profiles and singing are outside of what it knows. A clip without a "
    "usable face is skipped, so that a model which draws none is not punished here: read the number of scored clips "
    "beside every mean."
)
METADATA: dict[str, Any] = {"family": "speech", "needs": ("video", "audio")}
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


@dataclass(frozen=True)
class Speakers:
    """The faces of a clip that are in view while somebody speaks.

    Attributes:
        faces: at least one.
        chosen: position of the one whose lips go best with the sound.
        counts: what else is known of the clip's faces.
    """

    faces: list[Face]
    chosen: int
    counts: dict[str, int]

    @property
    def face(self) -> Face:
        """The one whose lips go best with the sound."""
        return self.faces[self.chosen]

    def detail(self) -> dict[str, Any]:
        """For a score: all faces, and which was chosen."""
        return {**self.counts, "faces": [face.summary() for face in self.faces], "chosen": self.chosen}

    def drawn(self) -> dict[str, Any]:
        """The same with what a report draws: the boxes of the faces, and the confidence of the chosen one over time."""
        kept = longest([len(face.track.boxes) for face in self.faces]) | {self.chosen}
        faces = [
            face.summary() | (boxes_over_time(face.track.boxes, 1 / FPS, _BOX_SECONDS) if position in kept else {})
            for position, face in enumerate(self.faces)
        ]
        reading = self.face.reading
        framewise, seconds = thinned(reading.framewise, 1 / FPS)
        return {
            **self.detail(),
            "faces": faces,
            "framewise": framewise,
            "framewise_begin_s": round(self.face.begin + reading.first / FPS, 3),
            "framewise_every_s": seconds,
        }


def read_faces(lips: LipTracks, tracks: Sequence[LipTrack], *, zero_rows: bool) -> list[Face]:
    """The readings of tracks of a clip that have windows."""
    return [
        Face(track, read_lips(track.distances, zero_rows=zero_rows), *lips.seconds(track))
        for track in tracks
        if len(track.distances)
    ]


def is_too_small(media: Media) -> bool:
    """Whether the detector looks at no frame of a clip, so that nothing is known of its faces."""
    assert media.video is not None
    return min(media.video.width, media.video.height) < SMALLEST_FRAME


def _speaks(track: LipTrack, lips: LipTracks, stretches: Sequence[tuple[float, float]], audio_start: float) -> bool:
    begin, end = lips.seconds(track)
    return any(audio_start + first < end and audio_start + last > begin for first, last in stretches)


def _speakers(media: Media, store: EncoderStore) -> Speakers | Score:
    """The faces in view while somebody speaks, or why there is none."""
    assert media.audio is not None
    stretches = speech_stretches(media, store)
    if not stretches:
        return Score.skipped(NO_SPEECH)
    if is_too_small(media):
        return Score.skipped(SMALL_FRAMES)
    lips = LipTracks.from_array(store.embed(LIPS, media))
    counts = {"frames": lips.frames, "frames_with_face": lips.with_face, "tracks": len(lips.tracks)}
    if not lips.tracks:
        return Score.skipped(SMALL_FACE if lips.with_face else OFF_SCREEN, **counts)
    speaking = [track for track in lips.tracks if _speaks(track, lips, stretches, media.audio.start)]
    if not speaking:
        return Score.skipped(OTHER_TIME, **counts)
    long_enough = [track for track in speaking if len(track.distances) >= LEAST_ROWS]
    if not long_enough:
        return Score.skipped(SHORT_AUDIO, **counts)
    faces = read_faces(lips, long_enough, zero_rows=False)
    best = max(range(len(faces)), key=lambda index: faces[index].reading.confidence)
    return Speakers(faces, best, counts)


@scorer(
    "lse_c",
    unit="1",
    higher_is_better=True,
    range=(0.0, math.inf),
    source=f"{PAPER}; {NAMES}; rules for tracks, ends and speech of this project",
    encoders=(SILERO, LIPS),
    params=PARAMS,
    caveat=CAVEAT,
    **METADATA,
)
def lse_c(media: Media, store: EncoderStore) -> Score:
    """Confidence that the lips of the best face go with the sound at one offset.

    Formula: median m - min m over shifts of -15 to 15 frames of 40 ms, m being the mean distance of SyncNet's
    embeddings of lips and sound over the windows that have sound at that shift. Of several faces in view while somebody
    speaks, the one with the largest value counts; the detail has all.
    """
    speakers = _speakers(media, store)
    if isinstance(speakers, Score):
        return speakers
    return Score.ok(speakers.face.reading.confidence, **speakers.drawn())


@scorer(
    "lse_d",
    unit="1",
    higher_is_better=False,
    range=(0.0, math.inf),
    source=f"{PAPER}; {NAMES}; rules for tracks, ends and speech of this project",
    encoders=(SILERO, LIPS),
    params=PARAMS,
    caveat=CAVEAT,
    **METADATA,
)
def lse_d(media: Media, store: EncoderStore) -> Score:
    """Distance of lips and sound at the best offset, of the face that lse_c chooses.

    Formula: min m, as in lse_c.
    """
    speakers = _speakers(media, store)
    if isinstance(speakers, Score):
        return speakers
    return Score.ok(speakers.face.reading.distance, **speakers.detail())


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
    **METADATA,
)
def sync_offset(media: Media, store: EncoderStore) -> Score:
    """Lag of the voice behind the lips, of the face that lse_c chooses; positive means that the voice is late.

    Formula: shift of the smallest m of lse_c. At the last shift on either side the smallest value may lie beyond, and
    the clip is skipped.
    """
    speakers = _speakers(media, store)
    if isinstance(speakers, Score):
        return speakers
    reading, detail = speakers.face.reading, speakers.detail()
    if abs(reading.shift) == REACH:
        return Score.skipped(f"no offset within {REACH / FPS:g} s stands out", **detail)
    return Score.ok(reading.shift / FPS, confidence=reading.confidence, **detail)
