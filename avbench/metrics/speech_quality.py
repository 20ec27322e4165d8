"""How the speech of a clip sounds, by networks that predict what listeners say. Extra [speech]."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.distillmos.encoder import DISTILLMOS
from avbench.encoders.networks.dnsmos import DNSMOS
from avbench.encoders.networks.nisqa.encoders import (
    LONGEST_S,
    NISQA,
    NISQA_16K,
    NISQA_TTS,
    SHORTEST_S,
    TTS_LONGEST_S,
)
from avbench.encoders.networks.silero import SILERO
from avbench.media import Media
from avbench.metrics.base import Score, scorer
from avbench.metrics.speech import NO_SPEECH, speech_stretches

_LENGTH = "Compare clips of equal length only"
_MUSIC = "Wanted music and effects count as noise."
_NISQA_SOURCE = "NISQA v2.0 (Mittag et al., Interspeech 2021)"
_MOS: dict[str, Any] = {"family": "speech", "unit": "MOS", "higher_is_better": True, "needs": ("audio",)}
# The networks end in a linear layer: nothing keeps their numbers between 1 and 5.
_UNCLIPPED = (-math.inf, math.inf)


@scorer(
    "distillmos",
    source="DistillMOS (Stahl & Gamper, ICASSP 2025), variant 7; weights of package distillmos 0.9.1",
    range=(1.0, 5.0),
    encoders=(SILERO, DISTILLMOS),
    caveat=f"{_LENGTH}: up to 7.68 s the network hears zeros behind the sound, and scores fall as it gets shorter. "
    f"{_MUSIC}",
    **_MOS,
)
def distillmos(media: Media, store: EncoderStore) -> Score:
    """Predicted overall quality of the speech, where there is speech, by DistillMOS.

    Formula: mean over stretches of 7.68 s that begin at most 1 s apart, each scaled to its peak; zeros behind shorter
    sound. The level of a clip does not matter.
    """
    if not speech_stretches(media, store):
        return Score.skipped(NO_SPEECH)
    scores = store.embed(DISTILLMOS, media)  # (S,)
    return Score.ok(float(np.clip(scores.mean(), 1.0, 5.0)), stretches=len(scores))


@scorer(
    "dnsmos_p808",
    source="DNSMOS P.808 (Reddy, Gopal & Cutler, ICASSP 2021); weights of package speechmos",
    range=(0.0, 5.0),
    encoders=(SILERO, DNSMOS),
    caveat=f"Trained on noisy speech after noise suppression. {_MUSIC} Another network than that of dnsmos_overall, "
    "though benchmarks call both DNSMOS.",
    **_MOS,
)
def dnsmos_p808(media: Media, store: EncoderStore) -> Score:
    """Predicted overall quality of the speech in the sense of ITU-T P.808, where there is speech.

    Formula: mean over 9.01 s segments (one per second, short sound repeated) of the network's output.
    """
    if not speech_stretches(media, store):
        return Score.skipped(NO_SPEECH)
    return Score.ok(float(store.embed(DNSMOS, media)[3]))


@scorer(
    "dnsmos_overall_compat",
    source="DNSMOS P.835 (Reddy, Gopal & Cutler, ICASSP 2022) as VABench (tanABCC/VABench 0b1fe7c) calls it",
    range=(0.0, 5.0),
    encoders=(DNSMOS,),
    params={"mode": "compat", "flags": "dnsmos_without_speech"},
    caveat="Every clip has a number, noise and silence too.",
    **_MOS,
)
def dnsmos_overall_compat(media: Media, store: EncoderStore) -> Score:
    """DNSMOS P.835's overall score of every clip, with or without speech, as VABench reports it.

    Formula: as dnsmos_overall.
    """
    return Score.ok(float(store.embed(DNSMOS, media)[0]))


def _unheard(media: Media, longest_s: float) -> str:
    """Why NISQA judges no sound of this length; "" where it does."""
    seconds = media.audio.duration if media.audio else 0.0
    if seconds > longest_s:
        return f"{seconds:.1f} s of sound; NISQA judges up to {longest_s:.1f} s"
    return f"{seconds:.2f} s of sound; NISQA needs {SHORTEST_S:.2f} s" if seconds < SHORTEST_S else ""


def _judged(
    encoder: Encoder, media: Media, store: EncoderStore, longest_s: float = LONGEST_S
) -> NDArray[np.floating] | Score:
    """The scores that NISQA gives, or why it gives none."""
    if reason := _unheard(media, longest_s):
        return Score.skipped(reason)
    scores = store.embed(encoder, media)
    # Resampling can leave less than the track's length says.
    return scores if len(scores) else Score.skipped(f"too little sound; NISQA needs {SHORTEST_S:.2f} s")


def _overall(encoder: Encoder, media: Media, store: EncoderStore) -> Score:
    """The overall score, with the four dimensions in the detail."""
    scores = _judged(encoder, media, store)
    if isinstance(scores, Score):
        return scores
    overall, noisiness, discontinuity, coloration, loudness = (float(score) for score in scores)
    return Score.ok(overall, noisiness=noisiness, discontinuity=discontinuity, coloration=coloration, loudness=loudness)


@scorer(
    "nisqa",
    source=_NISQA_SOURCE,
    range=_UNCLIPPED,
    encoders=(SILERO, NISQA),
    params={"mode": "fixed", "rate": 48000},
    caveat=f"Trained on transmitted speech: for synthetic speech its author recommends nisqa_tts, and the four "
    f"dimensions in the detail do not hold. {_LENGTH}. Numbers at other sampling rates differ. {_MUSIC}",
    **_MOS,
)
def nisqa(media: Media, store: EncoderStore) -> Score:
    """Predicted overall quality of transmitted speech, where there is speech, by NISQA at 48 kHz.

    Formula: the network's output over images of 0.15 s, one each 40 ms; not cut to the scale of 1 to 5. The detail
    has noisiness, discontinuity, coloration and loudness.
    """
    if not speech_stretches(media, store):
        return Score.skipped(NO_SPEECH)
    return _overall(NISQA, media, store)


@scorer(
    "nisqa_16k_compat",
    source=f"{_NISQA_SOURCE} as T2AV-Compass (NJU-LINK/T2AV-Compass b726966) calls it",
    range=_UNCLIPPED,
    encoders=(NISQA_16K,),
    params={"mode": "compat", "flags": "nisqa_16k,nisqa_without_speech", "rate": 16000},
    caveat="Every clip has a number, noise and silence too. The bands above 8 kHz are empty: it shares no column with "
    "nisqa.",
    **_MOS,
)
def nisqa_16k_compat(media: Media, store: EncoderStore) -> Score:
    """NISQA's overall score of every clip at 16 kHz, with or without speech, as T2AV-Compass reports it.

    Formula: as nisqa, of the sound at 16 kHz.
    """
    return _overall(NISQA_16K, media, store)


@scorer(
    "nisqa_compat",
    source=f"{_NISQA_SOURCE} as VABench (tanABCC/VABench 0b1fe7c) calls it",
    range=_UNCLIPPED,
    encoders=(NISQA,),
    params={"mode": "compat", "flags": "nisqa_without_speech", "rate": 48000},
    caveat="Every clip has a number, noise and silence too.",
    **_MOS,
)
def nisqa_compat(media: Media, store: EncoderStore) -> Score:
    """NISQA's overall score of every clip at 48 kHz, with or without speech, as VABench reports it.

    Formula: as nisqa.
    """
    return _overall(NISQA, media, store)


@scorer(
    "nisqa_tts",
    version=2,
    source="NISQA-TTS v1.0 (Mittag & Möller, Interspeech 2020)",
    range=_UNCLIPPED,
    encoders=(SILERO, NISQA_TTS),
    params={"rate": 48000},
    caveat=f"Trained on read sentences of speech synthesis: rooms, noise and music in a scene lower it. {_LENGTH}.",
    **_MOS,
)
def nisqa_tts(media: Media, store: EncoderStore) -> Score:
    """Predicted naturalness of synthetic speech, where there is speech, by NISQA-TTS.

    Formula: the network's output over images of 0.15 s, one each 10 ms, up to 8 kHz; not cut to the scale of 1 to 5.
    """
    if not speech_stretches(media, store):
        return Score.skipped(NO_SPEECH)
    scores = _judged(NISQA_TTS, media, store, TTS_LONGEST_S)
    return scores if isinstance(scores, Score) else Score.ok(float(scores[0]))
