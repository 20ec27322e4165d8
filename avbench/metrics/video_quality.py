"""VideoAlign's judgement of a video: how it looks, how it moves, and how well it fits its prompt."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Prompt
from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.videoalign import (
    AXES,
    NORMALISATION,
    RATE,
    REWARD_RATE,
    VIDEOALIGN,
    VIDEOALIGN_24,
)
from avbench.media import Media
from avbench.metrics.base import Score, scorer

_METADATA: dict[str, Any] = {
    "family": "video_quality",
    "unit": "1",
    "higher_is_better": True,
    "range": (-math.inf, math.inf),
    "needs": ["video", "prompt"],
}
_JAVISBENCH: dict[str, Any] = {
    "encoders": (VIDEOALIGN,),
    "prompt_role": "text",
    "source": "JavisDiT eval/javisbench, calc_video_quality_score; Liu et al., Improving Video Generation with Human "
    "Feedback, arXiv 2501.13918",
    "params": {"frames_per_second": RATE},
}
_CAVEAT = (
    "The opinion of a language model trained on what people preferred among videos of 2024; it never hears the sound. "
    "Frames are shrunk to at most 448 x 448 pixels in area. The reference runs in bfloat16, so its last digits differ. "
)


def normalised(axis: str, logit: float) -> float:
    """A logit of an axis as standard deviations from the mean of VideoAlign's own data."""
    mean, std = NORMALISATION[axis]
    return (logit - mean) / std


def _logits(media: Media, prompt: Prompt, store: EncoderStore, encoder: Encoder) -> dict[str, float] | Score:
    assert media.video is not None
    if len(media.video.times) < 2:
        return Score.skipped("fewer than 2 frames: the judge rates videos")
    values: NDArray[np.float32] = store.embed(encoder, media, prompt)  # (3,)
    return dict(zip(AXES, map(float, values), strict=True))


@scorer("vq", caveat=_CAVEAT + "2 frames a second: flicker between them goes unseen.", **_METADATA, **_JAVISBENCH)
def vq(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Visual quality of the video in the eyes of VideoAlign.

    Formula: the reward head's number at the token of visual quality, with 2 frames a second, not normalised.
    -5 to 7 in practice.
    """
    logits = _logits(media, prompt, store, VIDEOALIGN)
    return logits if isinstance(logits, Score) else Score.ok(logits["VQ"], normalised=normalised("VQ", logits["VQ"]))


@scorer("mq", caveat=_CAVEAT + "2 frames a second: fast motion is only guessed at.", **_METADATA, **_JAVISBENCH)
def mq(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Motion quality of the video in the eyes of VideoAlign.

    Formula: the reward head's number at the token of motion quality, with 2 frames a second, not normalised.
    -5 to 7 in practice.
    """
    logits = _logits(media, prompt, store, VIDEOALIGN)
    return logits if isinstance(logits, Score) else Score.ok(logits["MQ"], normalised=normalised("MQ", logits["MQ"]))


@scorer(
    "reward_videoalign",
    encoders=(VIDEOALIGN_24,),
    prompt_role="video",
    source="OmniNFT flow_grpo/rewards.py, videoalign_score; arXiv 2605.12480",
    # Mean and standard deviation, as text: parameters of a scorer are hashable.
    params={
        "frames_per_second": REWARD_RATE,
        **{f"normalisation_{axis.lower()}": "{} {}".format(*NORMALISATION[axis]) for axis in ("VQ", "TA")},
    },
    caveat=_CAVEAT + "Motion quality is left out. The judge was trained on 2 frames a second and is given 24 here.",
    **_METADATA,
)
def reward_videoalign(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """OmniNFT's reward from VideoAlign: visual quality and text alignment.

    Formula: mean of visual quality and text alignment, each as (logit - mean) / standard deviation
    of VideoAlign's own data, with 24 frames a second and the video prompt.
    0 is the mean of VideoAlign's own data.
    A clip that fails has no score; in the released recipe of OmniNFT it counts as 0.
    """
    logits = _logits(media, prompt, store, VIDEOALIGN_24)
    if isinstance(logits, Score):
        return logits
    axes = {axis: normalised(axis, logits[axis]) for axis in AXES}
    return Score.ok((axes["VQ"] + axes["TA"]) / 2, **axes)
