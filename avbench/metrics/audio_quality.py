"""Audiobox Aesthetics: learned ratings of how a sound sounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.audiobox.encoders import AUDIOBOX_AXES, AUDIOBOX_AXES_COMPAT, AXES, MAX_AUDIO_LEN_S
from avbench.media import Media
from avbench.metrics.base import Score, Scorer, scorer

Ratings = NDArray[np.float32]
ScoreFunction = Callable[[Media, EncoderStore], Score]

PAPER = "Tjandra et al., arXiv 2502.05139; facebookresearch/audiobox-aesthetics"
FIXED = {"mode": "fixed"}
COMPAT = {"mode": "compat", "flags": "aq_resample_bug,aq_pad_as_valid", "max_audio_len_s": MAX_AUDIO_LEN_S}
ABSOLUTE = (
    "A regression on human ratings of speech, music and sound effects from 1 to 10, not bounded to them. It hears "
    "neither video nor prompt, and silence gets a number too."
)


def mean_quality(ratings: Ratings) -> float:
    """(CE + CU + PC + PQ) / 4 of ratings (4,) in the order of `AXES`."""
    return float(np.mean(ratings, dtype=np.float64))


def quality_reward(ratings: Ratings) -> float:
    """(CE + CU + PQ - PC) / 40 of ratings (4,) in the order of `AXES`."""
    enjoyment, usefulness, complexity, quality = (float(value) for value in ratings)
    return (enjoyment + usefulness + quality - complexity) / 40


def _ratings(encoder: Encoder, media: Media, store: EncoderStore) -> Ratings | None:
    """Ratings (4,), or None where the track holds no sample."""
    assert media.audio is not None
    return store.embed(encoder, media) if media.audio.samples else None


def _no_audio() -> Score:
    return Score.skipped("the sound track holds no sample")


def _mean_of(encoder: Encoder, summary: str) -> ScoreFunction:
    def score(media: Media, store: EncoderStore) -> Score:
        ratings = _ratings(encoder, media, store)
        if ratings is None:
            return _no_audio()
        return Score.ok(mean_quality(ratings), **{axis: float(v) for axis, v in zip(AXES, ratings, strict=True)})

    score.__doc__ = summary
    return score


def _axis(position: int, summary: str) -> ScoreFunction:
    def score(media: Media, store: EncoderStore) -> Score:
        ratings = _ratings(AUDIOBOX_AXES, media, store)
        return _no_audio() if ratings is None else Score.ok(ratings[position])

    score.__doc__ = summary
    return score


def _register(
    name: str,
    function: ScoreFunction,
    encoder: Encoder,
    *,
    better: bool | None,
    source: str,
    params: Mapping[str, Any],
    caveat: str,
) -> Scorer:
    return scorer(
        name,
        unit="1",
        higher_is_better=better,
        range=(-math.inf, math.inf),
        source=source,
        needs=["audio"],
        encoders=(encoder,),
        params=params,
        caveat=caveat,
    )(function)


aq = _register(
    "aq",
    _mean_of(AUDIOBOX_AXES, "Mean of the four Audiobox Aesthetics ratings of the whole sound."),
    AUDIOBOX_AXES,
    better=True,
    source=f"JavisDiT eval/javisbench (AQ); {PAPER}",
    params=FIXED,
    caveat=f"{ABSOLUTE} More production complexity raises it, although more is not better.",
)

aq_compat = _register(
    "aq_compat",
    _mean_of(AUDIOBOX_AXES_COMPAT, "The AQ of JavisBench with its faults in preparing the sound."),
    AUDIOBOX_AXES_COMPAT,
    better=True,
    source=f"JavisDiT eval/javisbench (AQ); {PAPER}",
    params=COMPAT,
    caveat="For comparison with published tables only. Sound that is not at 16 kHz is not resampled but scaled and "
    f"played at the wrong speed, and only its first {MAX_AUDIO_LEN_S:g} x 16000 samples count; shorter sound is "
    f"filled with silence that is rated too. {ABSOLUTE}",
)

_AXIS_METADATA: Mapping[str, tuple[str, bool | None, str]] = {
    "CE": ("Content enjoyment: how pleasant, expressive and artistic the sound is.", True, ""),
    "CU": ("Content usefulness: how usable the sound is as material.", True, ""),
    "PC": (
        "Production complexity: how many components the sound has.",
        None,
        " A single voice is rightly low and a busy street rightly high: neither direction is better.",
    ),
    "PQ": ("Production quality: technical quality of the sound.", True, ""),
}

aq_ce, aq_cu, aq_pc, aq_pq = (
    _register(
        f"aq_{axis.lower()}",
        _axis(AXES.index(axis), summary),
        AUDIOBOX_AXES,
        better=better,
        source=PAPER,
        params=FIXED,
        caveat=ABSOLUTE + note,
    )
    for axis, (summary, better, note) in _AXIS_METADATA.items()
)


@scorer(
    "reward_audiobox",
    unit="1",
    higher_is_better=True,
    range=(-math.inf, math.inf),
    source=f"OmniNFT reward 'audiobox'; {PAPER}",
    needs=["audio"],
    encoders=(AUDIOBOX_AXES,),
    params=FIXED,
    caveat=f"{ABSOLUTE} Complexity is subtracted, so optimising it favours sparse sound.",
)
def reward_audiobox(media: Media, store: EncoderStore) -> Score:
    """OmniNFT's reward for sound: enjoyment, usefulness and quality less complexity, over 40."""
    ratings = _ratings(AUDIOBOX_AXES, media, store)
    return _no_audio() if ratings is None else Score.ok(quality_reward(ratings))
