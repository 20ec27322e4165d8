"""VBench's static filter: does a clip stand still enough for temporal flickering to say something?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import EncoderStore
from avbench.encoders.networks.raft.encoders import NEIGHBOURS, SMALLEST, large_enough, neighbours
from avbench.media import Media
from avbench.metrics.base import Score, scorer

_METADATA: dict[str, Any] = {
    "family": "vbench",
    "unit": "1",
    "higher_is_better": None,
    "range": (0.0, 1.0),
    "source": "VBench (Huang et al., CVPR 2024) and static_filter.py; RAFT, arXiv 2003.12039",
    "needs": ("video",),
    "encoders": (NEIGHBOURS,),
}
_CAVEAT = "A filter, no quality: VBench takes temporal flickering of clips that pass, the first five of each prompt."


@dataclass(frozen=True)
class StaticRule:
    """When a clip counts as static.

    Attributes:
        threshold: pixels that a pair of neighbours may move.
        allowed: pairs of neighbours that may move more; also how many times twice the threshold the first frame may
            be from the last.
    """

    threshold: float
    allowed: int

    @classmethod
    def of(cls, height: int, width: int, frames: int) -> StaticRule:
        """The rule for frames of this size and a number of frames; rounds half to even."""
        return cls(3.0 * min(height, width) / 256.0, round(2 * frames / 16))

    def holds(self, speeds: NDArray[np.floating[Any]]) -> bool:
        """Whether it is met; `speeds` in pixels: neighbours, first to last, last to first. NaN exceeds nothing."""
        moving = int((speeds[:-2] > self.threshold).sum())
        return moving <= self.allowed and not (speeds[-2:] > self.threshold * self.allowed * 2).any()


def _score(media: Media, speeds: NDArray[np.floating[Any]], **detail: Any) -> Score:
    assert media.video is not None
    rule = StaticRule.of(media.video.height, media.video.width, len(media.video.times))
    return Score.ok(
        rule.holds(speeds),
        pairs=len(speeds) - 2,
        threshold_px=rule.threshold,
        allowed_pairs=rule.allowed,
        moving_pairs=int((speeds[:-2] > rule.threshold).sum()),
        **detail,
    )


def _with_speeds(media: Media, store: EncoderStore) -> Score:
    speeds = store.embed(NEIGHBOURS, media)  # (T + 1,)
    return _score(
        media,
        speeds,
        fastest_px=float(speeds[:-2].max(initial=0.0)),
        first_to_last_px=float(speeds[-2]),
        last_to_first_px=float(speeds[-1]),
    )


@scorer("static_filter", params={"mode": "fixed"}, caveat=_CAVEAT, **_METADATA)
def static_filter(media: Media, store: EncoderStore) -> Score:
    """Whether the clip stands still: 1 if it passes VBench's filter for temporal flickering, 0 if not.

    Formula: at most c = round(N / 8) of the N - 1 pairs of neighbouring frames have r > t = 3 min(H, W) / 256, and
    neither first to last nor last to first has r > 2 c t; r is the mean length of the longest 2 % of RAFT's flow
    vectors.
    """
    assert media.video is not None
    height, width, frames = media.video.height, media.video.width, len(media.video.times)
    if min(height, width) < SMALLEST:
        return Score.skipped(f"a side below {SMALLEST} pixels: RAFT finds no flow")
    if StaticRule.of(height, width, frames).allowed == 0:
        return Score.skipped(f"{frames} frames; at least 5 needed")
    return _with_speeds(media, store)


@scorer(
    "static_filter_compat",
    params={"mode": "compat", "flags": "sf_few_frames,raft_small_still"},
    caveat="Small frames always pass, and clips of fewer than 5 frames only if their flow is exactly zero. " + _CAVEAT,
    **_METADATA,
)
def static_filter_compat(media: Media, store: EncoderStore) -> Score:
    """Whether the clip stands still, as the reference answers it for every clip."""
    assert media.video is not None
    if large_enough(media.video.height, media.video.width):
        return _with_speeds(media, store)
    pairs = neighbours(len(media.video.times), ends=True)
    return _score(media, np.full(len(pairs), np.nan), note="no flow: NaN, which exceeds nothing")
