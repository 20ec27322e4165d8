"""DeSync: by how many seconds are video and audio out of step, according to Synchformer?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.synchformer.encoders import EIGHT_SECONDS, FOUR_SECONDS, OWN_LENGTH
from avbench.media import Media
from avbench.metrics.base import Score, scorer

# In single precision, as the reference averages it.
OFFSETS = np.linspace(-2.0, 2.0, 21).astype(np.float32)

_PARAMS: dict[str, dict[str, Any]] = {
    "fixed": {"mode": "fixed", "length_s": "own"},
    "javisbench": {"mode": "compat", "length_s": 4.0, "flags": "desync_drop_last"},
    "omninft": {"mode": "compat", "length_s": 8.0, "flags": "desync_drop_last"},
}
_METADATA: dict[str, Any] = {"family": "synchrony", "needs": ["video", "audio"]}
_CAVEAT = (
    "A classification into steps of 0.2 s, so the score moves in steps of 0.2 s divided by the number of blocks. "
    "Blind within a step and beyond 2 s, and meaningless where nothing seen makes a sound; desync_margin shows how "
    "close the call was. DeSync of av-benchmark (MMAudio, ThinkSound) is another protocol: do not compare the two. "
    "OmniNFT trains with DeSync as a reward, so for a model trained so it is no independent judge."
)


def mean_offset(logits: NDArray[np.float32]) -> float:
    """Mean over blocks of the absolute offset in seconds; logits (blocks, 21)."""
    return float(np.abs(OFFSETS[logits.argmax(axis=1)]).mean())


def margins(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logit of the first choice above that of the second, (blocks,); logits (blocks, 21)."""
    ordered = np.sort(logits, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def _logits(encoder: Encoder, media: Media, store: EncoderStore) -> NDArray[np.float32]:
    return np.asarray(store.embed(encoder, media), dtype=np.float32)


def _too_short() -> Score:
    return Score.skipped("video and audio share less than 0.64 s, one segment of Synchformer")


def _detail(logits: NDArray[np.float32]) -> dict[str, Any]:
    """Offset and probability of each block; offsets are positive when the sound is late, as in all of avbench."""
    classes = logits.argmax(axis=1)
    return {
        "blocks": len(logits),
        "classes": classes.tolist(),
        # The network's own sign is positive for an early sound.
        "offsets_s": [round(-float(offset), 1) + 0.0 for offset in OFFSETS[classes]],
        "margins": [float(margin) for margin in margins(logits)],
    }


@scorer(
    "desync",
    unit="s",
    higher_is_better=False,
    range=(0.0, 2.0),
    source="Iashin et al., arXiv 2401.16423; JavisDiT eval/javisbench",
    encoders=(OWN_LENGTH,),
    params=_PARAMS["fixed"],
    caveat=_CAVEAT,
    **_METADATA,
)
def desync(media: Media, store: EncoderStore) -> Score:
    """Absolute audio-video offset that Synchformer sees over the length of the clip."""
    logits = _logits(OWN_LENGTH, media, store)
    return Score.ok(mean_offset(logits), **_detail(logits)) if len(logits) else _too_short()


@scorer(
    "desync_margin",
    unit="1",
    higher_is_better=None,
    range=(0.0, math.inf),
    source="this project",
    encoders=(OWN_LENGTH,),
    params=_PARAMS["fixed"],
    caveat="A difference of logits, not a probability. A small margin means that noise could flip the class and move "
    "desync by 0.2 s or more; a large one does not mean that the class is right.",
    **_METADATA,
)
def desync_margin(media: Media, store: EncoderStore) -> Score:
    """Smallest distance between the best and the second offset class over the blocks of desync."""
    logits = _logits(OWN_LENGTH, media, store)
    return Score.ok(margins(logits).min(), **_detail(logits)) if len(logits) else _too_short()


@scorer(
    "desync_compat",
    unit="s",
    higher_is_better=False,
    range=(0.0, 2.0),
    source="JavisDiT eval/javisbench with its recipe of 4 s",
    encoders=(FOUR_SECONDS,),
    params=_PARAMS["javisbench"],
    caveat="Only the first 4 s; a shorter clip is filled with black frames and silence, which are judged as well, and "
    "tracks are compared from their first frame and sample wherever those lie in time. " + _CAVEAT,
    **_METADATA,
)
def desync_compat(media: Media, store: EncoderStore) -> Score:
    """DeSync as the reference computes it: first 4 s, black and silence where the clip is shorter."""
    logits = _logits(FOUR_SECONDS, media, store)
    return Score.ok(mean_offset(logits), **_detail(logits)) if len(logits) else _no_video()


@scorer(
    "reward_desync",
    unit="1",
    higher_is_better=True,
    range=(1 / 3, 1.0),
    source="OmniNFT flow_grpo/audio_video_align",
    encoders=(EIGHT_SECONDS,),
    params=_PARAMS["omninft"],
    caveat="Judged on 8 s: the second half of a clip of 4 s is black and silent, and counts as much as the first. "
    + _CAVEAT,
    **_METADATA,
)
def reward_desync(media: Media, store: EncoderStore) -> Score:
    """Reward 1 / (1 + DeSync) over 8 s, black and silence where the clip is shorter."""
    logits = _logits(EIGHT_SECONDS, media, store)
    return Score.ok(1 / (1 + mean_offset(logits)), **_detail(logits)) if len(logits) else _no_video()


def _no_video() -> Score:
    return Score.skipped("the reference reads no frame of a clip this short")
