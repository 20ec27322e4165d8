"""Suite `quick`: metrics that need no checkpoint; networks, if any, come inside an installable package."""

from __future__ import annotations

from avbench.suites.base import Suite

# Written out: a metric that is added to avbench must not change what "quick" means, and with it the suite's version.
QUICK = Suite(
    "quick",
    "Everything that needs no checkpoint: sync, audio, video, integrity, speech.",
    (
        "duration_mismatch", "start_offset", "black_share", "blockiness", "colourfulness", "exposure", "frozen_share",
        "motion_energy", "sharpness", "shot_cuts", "temporal_flickering", "bandwidth", "clipped_share", "loudness",
        "silence_share", "true_peak", "dnsmos_overall", "speech_share", "speech_span", "av_align",
        "av_align_symmetric", "av_offset", "av_offset_confidence",
    ),
)  # fmt: skip
