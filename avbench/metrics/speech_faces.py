"""Is a face in view while somebody speaks? Tells voices off screen apart. Extras [models] and [speech]."""

from __future__ import annotations

import numpy as np

from avbench.encoders import EncoderStore
from avbench.encoders.networks.mtcnn.encoders import FACES, RATE, SAMPLING
from avbench.encoders.networks.silero import SILERO
from avbench.media import Media
from avbench.metrics.base import Score, scorer
from avbench.metrics.faces import CONFIDENCE, faces_by_frame
from avbench.metrics.speech import NO_SPEECH, speech_stretches


@scorer(
    "speech_face_ratio",
    family="speech",
    unit="1",
    higher_is_better=None,
    range=(0.0, 1.0),
    source="own definition; Silero VAD, and MTCNN (Zhang et al., IEEE SPL 2016), weights of timesler/facenet-pytorch",
    needs=("video", "audio"),
    encoders=(SILERO, FACES),
    params={"frames_per_second": RATE, "confidence": CONFIDENCE},
    caveat="A face in view need not be the one that speaks: 0 says that the voice is off screen, 1 does not say that "
    "it is on screen. Faces in profile, drawn ones and those under 20 of 640 pixels may be missed.",
)
def speech_face_ratio(media: Media, store: EncoderStore) -> Score:
    """Fraction of the speech during which a face is in view; 0 where the voice is off screen.

    Formula: frames with a face of probability 0.9 or more, over frames looked at, five per second, both counted where
    somebody speaks.
    """
    assert media.video is not None and media.audio is not None
    stretches = speech_stretches(media, store)
    if not stretches:
        return Score.skipped(NO_SPEECH)
    chosen = SAMPLING.indices(media.video.times, media.video.fps, media.video.end)
    seconds = media.video.times[chosen] - media.audio.start
    spoken = np.array([any(first <= second < last for first, last in stretches) for second in seconds], dtype=bool)
    if not spoken.any():
        return Score.skipped("speech, but none while there is video")
    faces = np.array([len(boxes) > 0 for boxes in faces_by_frame(store.embed(FACES, media), len(chosen))])
    with_face = int((spoken & faces).sum())
    return Score.ok(with_face / int(spoken.sum()), frames=int(spoken.sum()), frames_with_face=with_face)
