"""JavisBench (JavisVerse/JavisDiT, eval/javisbench): its sixteen metrics, as intended and as its code computes them."""

from __future__ import annotations

from avbench.suites.base import Suite

_SAME_IN_BOTH = ("vq", "mq", "av_align")
_REPAIRED = (
    "fvd", "kvd", "fad", "aq", "tv_ib", "ta_ib", "av_ib", "clip_score", "clap_score", "cavp_score", "avh_score",
    "javis_score", "desync",
)  # fmt: skip

JAVISBENCH = Suite(
    "javisbench",
    "JavisBench's sixteen metrics, computed as intended (mode fixed).",
    (*_SAME_IN_BOTH, *_REPAIRED),
)
JAVISBENCH_COMPAT = Suite(
    "javisbench-compat",
    "The same sixteen with the bugs of the reference, for comparison with published tables (mode compat).",
    (*_SAME_IN_BOTH, *(f"{name}_compat" for name in _REPAIRED)),
)
