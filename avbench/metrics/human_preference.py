"""HPSv3's judgement of single frames: would people like this image for this prompt?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Prompt
from avbench.encoders import EncoderStore
from avbench.encoders.networks.hpsv3 import FRAMES, HPSV3
from avbench.media import Media
from avbench.metrics.base import Score, scorer

CAP = 15.0
FRACTION = 0.3

_METADATA: dict[str, Any] = {
    "family": "human_preference",
    "unit": "1",
    "higher_is_better": True,
    "needs": ["video", "prompt"],
    "prompt_role": "video",
    "encoders": (HPSV3,),
}
_CAVEAT = (
    "The opinion of a language model trained on what people preferred among images. Frames are judged one by one, so "
    "motion counts for nothing, and neither does the sound. The reference runs in bfloat16, so its last digits differ. "
)


def best_mean(means: NDArray[np.float32], cap: float = CAP, fraction: float = FRACTION) -> float:
    """Mean of the best frames.

    Args:
        means: preference of each frame (k,).
        cap: a frame counts no more than this.
        fraction: of the frames that count, rounded up to whole frames.
    """
    best = np.sort(np.minimum(means, cap))[::-1]
    return float(np.mean(best[: math.ceil(len(best) * fraction)]))


def _preferences(media: Media, prompt: Prompt, store: EncoderStore) -> NDArray[np.float32]:
    ratings: NDArray[np.float32] = store.embed(HPSV3, media, prompt)  # (5, 2): mean and standard deviation
    return ratings[:, 0]


@scorer(
    "hpsv3",
    range=(-math.inf, math.inf),
    source="Ma et al., HPSv3, arXiv 2508.03789, for single images; the mean over frames is avbench's",
    params={"frames": FRAMES},
    caveat=_CAVEAT + "HPSv3 rates images: no publication says how to rate a video, and this mean is avbench's way.",
    **_METADATA,
)
def hpsv3(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Human preference for the frames according to HPSv3.

    Formula: mean over 5 frames spread over the clip of HPSv3's mean preference, neither capped nor normalised.
    HPSv3's number for an image is the first of the two outputs.
    """
    means = _preferences(media, prompt, store)
    return Score.ok(float(np.mean(means)), frames=[float(mean) for mean in means])


@scorer(
    "reward_hpsv3",
    range=(-math.inf, CAP),
    source="OmniNFT flow_grpo/rewards.py, hpsv3_score_video; arXiv 2605.12480",
    params={"frames": FRAMES, "cap": CAP, "share": FRACTION},
    caveat=_CAVEAT
    + "Only the best 2 of 5 frames count, so a clip that breaks down half way is rated by its good half.",
    **_METADATA,
)
def reward_hpsv3(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """OmniNFT's reward from HPSv3: the best two of five frames.

    Formula: mean over the best 30 % (2) of 5 frames spread over the clip of min(preference, 15).
    A clip that fails has no score; in the released recipe of OmniNFT it counts as 0.
    """
    return Score.ok(best_mean(_preferences(media, prompt, store)))
