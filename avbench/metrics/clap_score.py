"""CLAP score: is what one hears what the prompt says?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Prompt
from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks import laion_clap as laion
from avbench.encoders.networks.clap import (
    CLAP_AUDIO,
    CLAP_AUDIO_SINC,
    CLAP_AUDIO_ZERO_PAD,
    CLAP_TEXT,
    RATE,
    SECONDS,
    TOKENS,
)
from avbench.encoders.texts import split_text
from avbench.media import Media
from avbench.metrics.base import Score, scorer

Vector = NDArray[np.float32]

_EPSILON = 1e-6
_METADATA: dict[str, Any] = {
    "family": "text_alignment",
    "unit": "1",
    "higher_is_better": True,
    "needs": ["audio", "prompt"],
    "prompt_role": "audio",
}
_CAVEAT = (
    "Only the first 10 s of sound are heard. Which sounds occur counts, when they occur hardly. Silence has an "
    "embedding like any sound, so a silent clip gets a number."
)


def cosine(a: Vector, b: Vector) -> float:
    """Cosine of two vectors (D,); lengths below 1e-6 count as 1e-6."""
    return float(a @ b / (max(float(np.linalg.norm(a)), _EPSILON) * max(float(np.linalg.norm(b)), _EPSILON)))


def reward(similarity: float) -> float:
    """A cosine as a reward between 0 and 1."""
    return min(max((similarity + 1) / 2, 0.0), 1.0)


def _similarity(
    media: Media, prompt: Prompt, store: EncoderStore, pair: tuple[Encoder, Encoder], limit: int
) -> tuple[float, dict[str, Any]] | Score:
    """Cosine of sound and text with the entries of the detail, or why there is none."""
    assert media.audio is not None
    if media.audio.duration * RATE < 1:
        return Score.skipped("no sample of sound at 48 kHz")
    sound, text = pair
    words, tokens = split_text(store.embed(text, media, prompt))
    notes = []
    if tokens > limit:
        notes.append(f"text cut from {tokens} to {limit} tokens")
    if media.audio.duration > SECONDS:
        notes.append(f"first {SECONDS} s of {media.audio.duration:.2f} s of sound")
    detail = {"tokens": tokens} | ({"note": "; ".join(notes)} if notes else {})
    return cosine(store.embed(sound, media), words), detail


def _score(
    media: Media, prompt: Prompt, store: EncoderStore, pair: tuple[Encoder, Encoder], limit: int = TOKENS
) -> Score:
    similarity = _similarity(media, prompt, store, pair, limit)
    return similarity if isinstance(similarity, Score) else Score.ok(similarity[0], **similarity[1])


@scorer(
    "clap_score",
    range=(-1.0, 1.0),
    source="JavisDiT eval/javisbench, calc_clap_score; Wu et al., arXiv 2211.06687",
    encoders=(CLAP_AUDIO, CLAP_TEXT),
    params={"mode": "fixed", "seconds": SECONDS},
    caveat=_CAVEAT + " Texts over 512 tokens are cut.",
    **_METADATA,
)
def clap_score(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Similarity of audio and prompt in CLAP.

    Formula: cos(sound, text). The sound is mono at 48 kHz: its first 10 s, a shorter one repeated as often as it fits
    and then filled with silence, as the network was trained. The text is the prompt for the sound, else the joint one.
    The detail says when the sound or a text of more than 512 tokens was cut.
    JavisBench takes a random 10 s of a longer sound.
    """
    return _score(media, prompt, store, (CLAP_AUDIO, CLAP_TEXT))


@scorer(
    "clap_score_compat",
    range=(-1.0, 1.0),
    source="JavisDiT eval/javisbench, calc_clap_score, with transformers 4.49",
    encoders=(CLAP_AUDIO_ZERO_PAD, CLAP_TEXT),
    params={"mode": "compat", "flags": "clap_zero_pad", "seconds": SECONDS},
    caveat="Short sounds are filled with silence, which the network was not trained on: only for comparison with "
    "published numbers. The reference hears a random 10 s of a longer sound, and resamples with librosa 0.9.2, which "
    "moves scores by about 0.001. " + _CAVEAT,
    **_METADATA,
)
def clap_score_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """CLAP score as JavisBench computes it: sounds below 10 s filled with silence.

    Formula: as clap_score, but filled with silence alone. Skipped for texts over 512 tokens, on which the reference
    fails. Of sounds over 10 s the reference takes a random 10 s, so it has no number to equal: here the first 10 s.
    """
    _, tokens = split_text(store.embed(CLAP_TEXT, media, prompt))
    if tokens > TOKENS:
        return Score.skipped(f"text of {tokens} tokens: the reference fails on more than {TOKENS}; see clap_score")
    return _score(media, prompt, store, (CLAP_AUDIO_ZERO_PAD, CLAP_TEXT))


@scorer(
    "reward_clap",
    range=(0.0, 1.0),
    source="zghhui/OmniNFT flow_grpo/rewards.py, clap_score",
    encoders=(CLAP_AUDIO_SINC, CLAP_TEXT),
    params={"mode": "compat", "flags": "clap_zero_pad", "seconds": SECONDS},
    caveat="The reference gives 0 to sounds over 10 s, because its extractor fails on them; here their first 10 s "
    "count. " + _CAVEAT,
    **_METADATA,
)
def reward_clap(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """CLAP similarity of sound and prompt as OmniNFT's reward.

    Formula: clamp((cos(sound, text) + 1) / 2, 0, 1), the sound resampled as torchaudio does and filled with silence.
    """
    similarity = _similarity(media, prompt, store, (CLAP_AUDIO_SINC, CLAP_TEXT), TOKENS)
    return (
        similarity
        if isinstance(similarity, Score)
        else Score.ok(reward(similarity[0]), cosine=similarity[0], **similarity[1])
    )


@scorer(
    "clap_score_laion",
    range=(-1.0, 1.0),
    source="LAION-AI/CLAP, package laion-clap 1.1.7; Wu et al., arXiv 2211.06687",
    encoders=(laion.LAION_AUDIO, laion.LAION_TEXT),
    params={"mode": "fixed", "seconds": SECONDS},
    caveat="A second implementation of clap_score, to check it against; needs the extra 'reference', which pins torch "
    "and NumPy. Texts over 77 tokens are cut. " + _CAVEAT,
    **_METADATA,
)
def clap_score_laion(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Similarity of audio and prompt in CLAP, computed by the authors' package.

    Formula: as clap_score; the package rounds the sound to 16 bits and cuts texts at 77 tokens.
    """
    return _score(media, prompt, store, (laion.LAION_AUDIO, laion.LAION_TEXT), laion.TOKENS)
