"""Clips that talk: what avbench measures of them, and what three benchmarks compute."""

from __future__ import annotations

from avbench.suites.base import Suite

SPEECH = Suite(
    "speech",
    "Clips that talk: presence of speech, words against the prompt, quality and constancy of the voice.",
    (
        "speech_share", "speech_span", "wer", "cer", "wer_corpus", "cer_corpus", "speech_language", "distillmos",
        "dnsmos_overall", "dnsmos_p808", "nisqa", "nisqa_tts", "speaker_consistency",
    ),
)  # fmt: skip
# Each of the three also reports lip sync by SyncNet; those metrics join where avbench has them.
TALKING_COMPASS = Suite(
    "talking-compass",
    "T2AV-Compass on clips that talk: NISQA of every clip at 16 kHz (mode compat).",
    ("nisqa_16k_compat",),
)
TALKING_VABENCH = Suite(
    "talking-vabench",
    "VABench on clips that talk: DNSMOS P.835 and NISQA at 48 kHz, both of every clip (mode compat).",
    ("dnsmos_overall_compat", "nisqa_compat"),
)
TALKING_VERSE = Suite(
    "talking-verse",
    "Verse-Bench on clips that talk: its rule for word errors, on Whisper's transcript (mode compat).",
    ("wer_verse_compat",),
)
