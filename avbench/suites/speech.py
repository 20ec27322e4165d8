"""Clips that talk: what avbench measures of them, and what three benchmarks compute."""

from __future__ import annotations

from avbench.suites.base import Suite

SPEECH = Suite(
    "speech",
    "Clips that talk: speech at all, words against the prompt, quality and constancy of the voice, faces, lips.",
    (
        "speech_share", "speech_span", "wer", "cer", "wer_corpus", "cer_corpus", "speech_language", "distillmos",
        "dnsmos_overall", "dnsmos_p808", "nisqa", "nisqa_tts", "speaker_consistency", "face_ratio",
        "speech_face_ratio", "mouth_motion", "lse_c", "lse_d", "sync_offset",
    ),
)  # fmt: skip
TALKING_COMPASS = Suite(
    "talking-compass",
    "T2AV-Compass on clips that talk: LatentSync's confidence of lips, NISQA of every clip at 16 kHz (mode compat).",
    ("lse_c_latentsync_compat", "nisqa_16k_compat"),
)
TALKING_VABENCH = Suite(
    "talking-vabench",
    "VABench on clips that talk: LatentSync's confidence of lips, DNSMOS P.835 and NISQA at 48 kHz (mode compat).",
    ("lse_c_latentsync_compat", "dnsmos_overall_compat", "nisqa_compat"),
)
# Its lip sync crops and cuts by a detector of faces that avbench does not have.
TALKING_VERSE = Suite(
    "talking-verse",
    "Verse-Bench on clips that talk: its rule for word errors, on Whisper's transcript (mode compat).",
    ("wer_verse_compat",),
)
