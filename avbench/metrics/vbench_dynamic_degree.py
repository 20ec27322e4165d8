"""Dynamic degree as VBench defines it: does anything move much? By RAFT optical flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import EncoderStore
from avbench.encoders.networks.raft.encoders import EIGHTHS, SMALLEST, STRIDE, large_enough
from avbench.media import Media
from avbench.metrics.base import Score, scorer

_METADATA: dict[str, Any] = {
    "family": "vbench",
    "unit": "1",
    "higher_is_better": True,
    "range": (0.0, 1.0),
    "source": "VBench (Huang et al., CVPR 2024) and vbench/dynamic_degree.py; RAFT, arXiv 2003.12039",
    "needs": ("video",),
    "encoders": (EIGHTHS,),
}
_CAVEAT = (
    "Yes or no: how much is in the detail. A moving camera, flicker and noise count as motion; more is not better by "
    "itself, and consistency falls with it. The limit grows with the short side, so sizes compare only roughly."
)


@dataclass(frozen=True)
class DynamicRule:
    """When a clip counts as dynamic: at least `needed` of its pairs move more than `threshold` pixels."""

    threshold: float
    needed: int

    @classmethod
    def of(cls, height: int, width: int, frames: int) -> DynamicRule:
        """The rule for frames of this size and a number of sampled frames; rounds half to even."""
        return cls(6.0 * min(height, width) / 256.0, round(4 * frames / 16))

    def holds(self, speeds: NDArray[np.floating[Any]]) -> bool:
        """Whether it is met; `speeds` (P,) in pixels, NaN exceeding nothing."""
        # Asked after each pair, as the reference does: without any pair nothing holds, even if none is needed.
        return bool((np.cumsum(speeds > self.threshold) >= self.needed).any())


def _sampled(media: Media) -> int:
    assert media.video is not None
    return len(STRIDE.indices(media.video.times, media.video.fps))


def _score(media: Media, speeds: NDArray[np.floating[Any]], **detail: Any) -> Score:
    assert media.video is not None
    frames = _sampled(media)
    rule = DynamicRule.of(media.video.height, media.video.width, frames)
    return Score.ok(
        rule.holds(speeds),
        sampled_frames=frames,
        threshold_px=rule.threshold,
        needed_pairs=rule.needed,
        moving_pairs=int((speeds > rule.threshold).sum()),
        **detail,
    )


def _with_speeds(media: Media, store: EncoderStore) -> Score:
    speeds = store.embed(EIGHTHS, media)  # (F - 1,)
    return _score(media, speeds, fastest_px=float(speeds.max(initial=0.0)))


@scorer("dynamic_degree", params={"mode": "fixed"}, caveat=_CAVEAT, **_METADATA)
def dynamic_degree(media: Media, store: EncoderStore) -> Score:
    """Whether large parts of the frame move.

    Formula: 1 if at least round(F / 4) of the F - 1 pairs of neighbours among F frames an eighth of a second apart
    have r > 6 min(H, W) / 256, else 0; r is the mean length of the longest 5 % of RAFT's flow vectors.
    """
    assert media.video is not None
    if min(media.video.height, media.video.width) < SMALLEST:
        return Score.skipped(f"a side below {SMALLEST} pixels: RAFT finds no flow")
    if (frames := _sampled(media)) < 3:
        return Score.skipped(f"{frames} frames an eighth of a second apart; at least 3 needed")
    return _with_speeds(media, store)


@scorer(
    "dynamic_degree_compat",
    params={"mode": "compat", "flags": "dd_one_pair,raft_small_still"},
    caveat="Small frames always count as still, and clips of two sampled frames as dynamic, whatever they show. "
    + _CAVEAT,
    **_METADATA,
)
def dynamic_degree_compat(media: Media, store: EncoderStore) -> Score:
    """Whether large parts of the frame move, as the reference answers it for every clip."""
    assert media.video is not None
    if large_enough(media.video.height, media.video.width):
        return _with_speeds(media, store)
    return _score(media, np.full(max(_sampled(media) - 1, 0), np.nan), note="no flow: NaN, which exceeds nothing")
