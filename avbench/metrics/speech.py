"""Speech: its fraction of the sound, its span, its predicted quality. Extra [speech]; small networks on the CPU."""

from __future__ import annotations

import math

from avbench.encoders import EncoderStore
from avbench.encoders.networks.dnsmos import DNSMOS
from avbench.encoders.networks.silero import RATE, SILERO, WINDOW, speech_segments
from avbench.media import Media
from avbench.metrics.base import Score, scorer

NO_SPEECH = "no speech found"
VAD_SOURCE = "Silero VAD (github.com/snakers4/silero-vad), get_speech_timestamps with its defaults"
VAD_CAVEAT = "A detector: shouts, laughter and singing may be missed, and animal calls taken for speech."


def _segments(media: Media, store: EncoderStore) -> tuple[list[tuple[float, float]], float]:
    """Stretches of speech and the length of the track, in seconds from its start."""
    if media.audio is None:
        raise LookupError(f"{media.key} has no sound; add 'audio' to the scorer's needs")
    probabilities = store.embed(SILERO, media)  # (W,)
    samples = min(round(media.audio.duration * RATE), len(probabilities) * WINDOW)
    return speech_segments(probabilities, samples), samples / RATE


def speech_stretches(media: Media, store: EncoderStore) -> list[tuple[float, float]]:
    """Stretches of speech in seconds from the start of the sound; empty where nobody speaks."""
    return _segments(media, store)[0]


@scorer(
    "speech_share",
    unit="1",
    higher_is_better=None,
    range=(0.0, 1.0),
    source=VAD_SOURCE,
    needs=("audio",),
    encoders=(SILERO,),
    caveat=VAD_CAVEAT,
)
def speech_share(media: Media, store: EncoderStore) -> Score:
    """Fraction of the sound's duration that is speech; the detail lists the stretches.

    Formula: sum of the stretches' lengths / duration of the sound.
    """
    segments, duration = _segments(media, store)
    if duration == 0:
        return Score.skipped("shorter than one sample at 16 kHz")
    spoken = sum(end - start for start, end in segments)
    return Score.ok(min(spoken / duration, 1.0), segments=[list(segment) for segment in segments])


@scorer(
    "speech_span",
    unit="s",
    higher_is_better=None,
    range=(0.0, math.inf),
    source=VAD_SOURCE,
    needs=("audio",),
    encoders=(SILERO,),
    caveat=VAD_CAVEAT + " Pauses in between count.",
)
def speech_span(media: Media, store: EncoderStore) -> Score:
    """Time from the first to the last speech.

    Formula: end of the last stretch - start of the first; the detail has both, from the start of the sound.
    Speech shorter than 0.25 s is not counted.
    """
    segments, _ = _segments(media, store)
    if not segments:
        return Score.skipped(NO_SPEECH)
    first, last = segments[0][0], segments[-1][1]
    return Score.ok(last - first, first_s=first, last_s=last)


@scorer(
    "dnsmos_overall",
    unit="MOS",
    higher_is_better=True,
    range=(0.0, 5.0),
    source="DNSMOS P.835 (Reddy, Gopal & Cutler, ICASSP 2022); weights of package speechmos",
    needs=("audio",),
    encoders=(SILERO, DNSMOS),
    caveat="Trained on noisy speech after noise suppression: wanted music and effects count as noise.",
)
def dnsmos_overall(media: Media, store: EncoderStore) -> Score:
    """Predicted overall quality of the speech, where there is speech.

    Formula: mean over 9.01 s segments (one per second, short sound repeated) of the calibrated output; the
    detail has signal, background and the overall P.808 prediction.
    The calibration of the MOS scale can end slightly below 1 and at most at 4.64.
    """
    segments, _ = _segments(media, store)
    if not segments:
        return Score.skipped(NO_SPEECH)
    overall, signal, background, p808 = (float(value) for value in store.embed(DNSMOS, media))
    return Score.ok(overall, sig=signal, bak=background, p808=p808)
