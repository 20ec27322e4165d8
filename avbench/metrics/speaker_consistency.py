"""Does a clip keep one voice? Extra [speech]."""

from __future__ import annotations

from avbench.encoders import EncoderStore
from avbench.encoders.networks.resemblyzer.encoder import VOICE
from avbench.encoders.networks.silero import SILERO
from avbench.media import Media
from avbench.metrics.base import Score, scorer
from avbench.metrics.speech import NO_SPEECH, speech_stretches

LEAST_SPEECH_S = 6.0
"""Below it, halves of one voice and clips of two voices overlap."""


@scorer(
    "speaker_consistency",
    family="speech",
    unit="1",
    higher_is_better=True,
    range=(0.0, 1.0),
    source="Resemblyzer 0.1.4 (resemble-ai/Resemblyzer) of GE2E (Wan et al., ICASSP 2018)",
    needs=("audio",),
    encoders=(SILERO, VOICE),
    params={"least_speech_s": LEAST_SPEECH_S},
    caveat="Clips of five seconds are always skipped. Dialogue has two voices and reads low; music "
    "counts as part of the voice. Numbers start near 0.4, since no embedding has entries below 0.",
)
def speaker_consistency(media: Media, store: EncoderStore) -> Score:
    """Similarity of the voice in the first and in the second half of the speech, from 6 s of speech on.

    Formula: cosine of Resemblyzer's embeddings of both halves, pauses cut.
    """
    stretches = speech_stretches(media, store)
    if not stretches:
        return Score.skipped(NO_SPEECH)
    seconds = sum(end - start for start, end in stretches)
    if seconds < LEAST_SPEECH_S:
        return Score.skipped(f"{seconds:.1f} s of speech, {LEAST_SPEECH_S:.0f} needed")
    embeddings = store.embed(VOICE, media)  # (3, 256)
    if not len(embeddings):
        return Score.skipped("no voice is left after cutting pauses")
    cosine = float(embeddings[1] @ embeddings[2])
    return Score.ok(min(max(cosine, 0.0), 1.0), speech_s=round(seconds, 3))
