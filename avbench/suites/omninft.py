"""OmniNFT (arXiv 2605.12480): the ten metrics of its tables, and the rewards of its released recipe."""

from __future__ import annotations

from avbench.suites.base import Suite

OMNINFT_TABLES = Suite(
    "omninft-tables",
    "The ten metrics of the OmniNFT paper's tables.",
    (
        "vq", "aq", "tv_ib", "ta_ib", "clip_score", "clap_score", "av_ib", "avh_score", "javis_score", "desync",
    ),
)  # fmt: skip
OMNINFT_REWARDS = Suite(
    "omninft-rewards",
    "The five rewards of OmniNFT's LTX-2 recipe, as transforms of the same scorers.",
    ("reward_videoalign", "reward_hpsv3", "reward_audiobox", "reward_clap", "reward_desync"),
)
