"""CAVP score: do audio and video go together, quarter second by quarter second?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.cavp.encoders import (
    CAVP,
    CAVP_WHOLE_SECONDS,
    STEPS_PER_SECOND,
    common_steps,
    whole_second_steps,
)
from avbench.media import Media
from avbench.metrics.base import Score, scorer

_SOURCE = "Diff-Foley stage 1, Luo et al., arXiv 2306.17203; JavisDiT eval/javisbench calc_cavp_score"
_CAVEAT = (
    "The network learned from clips of four seconds at four frames per second: it judges whether audio and video "
    "fit in kind and within some tenths of a second, not lip sync. Silence gets a number as well. Above ten seconds "
    "the video is seen in pieces of ten seconds. "
)


def mean_similarity(pair: NDArray[np.float32]) -> float:
    """Mean over time of the cosine between video and audio, unit vectors (2, T, D) with T > 0."""
    return float((pair[0].astype(np.float64) * pair[1]).sum(axis=1).mean())


def _score(encoder: Encoder, steps: int, media: Media, store: EncoderStore) -> Score:
    assert media.video is not None
    assert media.audio is not None
    value = mean_similarity(store.embed(encoder, media))
    lengths = {"picture_s": round(media.video.duration, 3), "sound_s": round(media.audio.duration, 3)}
    # Rounding can leave a cosine of two equal vectors just above 1.
    return Score.ok(min(1.0, max(-1.0, value)), scored_s=steps / STEPS_PER_SECOND, **lengths)


@scorer(
    "cavp_score",
    family="synchrony",
    unit="1",
    higher_is_better=True,
    range=(-1.0, 1.0),
    source=_SOURCE,
    needs=["video", "audio"],
    encoders=(CAVP,),
    params={"mode": "fixed"},
    caveat=_CAVEAT + "Video and audio are cut to the shorter of the two, in whole quarters of a second.",
)
def cavp_score(media: Media, store: EncoderStore) -> Score:
    """Mean cosine of CAVP vectors of video and audio, four per second."""
    assert media.video is not None
    assert media.audio is not None
    steps = common_steps(media.video, media.audio)
    if steps == 0:
        return Score.skipped("video and audio share less than a quarter of a second")
    return _score(CAVP, steps, media, store)


@scorer(
    "cavp_score_compat",
    family="synchrony",
    unit="1",
    higher_is_better=True,
    range=(-1.0, 1.0),
    source=_SOURCE,
    needs=["video", "audio"],
    encoders=(CAVP_WHOLE_SECONDS,),
    params={"mode": "compat", "flags": "cavp_whole_seconds"},
    caveat=_CAVEAT + "As in the reference, the whole seconds of the video are scored and short sound is padded with "
    "silence. The reference's lossy re-encode is left out: its pixels depend on the x264 version and thread count, and "
    "an imitation came no nearer to them than leaving it out. With random weights it moved scores by up to 0.001; its "
    "effect with the published weights is not measured. Clips that the reference fails on and scores 0.0, "
    "such as odd frame sizes, get their number.",
)
def cavp_score_compat(media: Media, store: EncoderStore) -> Score:
    """CAVP score of the video's whole seconds, as the reference cuts clips."""
    assert media.video is not None
    assert media.audio is not None
    steps = whole_second_steps(media.video, media.audio)
    if steps == 0:
        return Score.skipped("the video lasts less than one second; the reference scores whole seconds")
    return _score(CAVP_WHOLE_SECONDS, steps, media, store)
