"""OmniNFT (arXiv 2605.12480): the ten metrics of its tables, VBench beside them, and the rewards of its recipe."""

from __future__ import annotations

from avbench.suites.base import Suite
from avbench.suites.vbench import VBENCH_CUSTOM

OMNINFT_TABLES = Suite(
    "omninft-tables",
    "The ten metrics of the OmniNFT paper's tables.",
    (
        "vq", "aq", "tv_ib", "ta_ib", "clip_score", "clap_score", "av_ib", "avh_score", "javis_score", "desync",
    ),
)  # fmt: skip
# Which dimensions the paper's table of VBench has is unknown: these are all that its audio-video prompts allow.
OMNINFT_PAPER = Suite(
    "omninft-paper",
    "The ten metrics of the OmniNFT paper's tables, and VBench's ten for own videos.",
    (*OMNINFT_TABLES.metrics, *VBENCH_CUSTOM.metrics),
)
OMNINFT_REWARDS = Suite(
    "omninft-rewards",
    "The five rewards of OmniNFT's LTX-2 recipe, as transforms of the same scorers.",
    ("reward_videoalign", "reward_hpsv3", "reward_audiobox", "reward_clap", "reward_desync"),
)
