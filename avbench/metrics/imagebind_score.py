"""ImageBind similarity of prompt, video and audio."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Prompt
from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.imagebind.encoders import (
    IMAGEBIND_AUDIO,
    IMAGEBIND_AUDIO_COMPAT,
    IMAGEBIND_AUDIO_TEXT,
    IMAGEBIND_AUDIO_TEXT_COMPAT,
    IMAGEBIND_TEXT,
    IMAGEBIND_TEXT_COMPAT,
    IMAGEBIND_VIDEO,
    TOKENS,
)
from avbench.encoders.texts import split_text
from avbench.media import Media
from avbench.metrics.base import Score, scorer

Embedding = NDArray[np.float32]

TOO_SHORT = "less than 25 ms of sound: not one analysis frame"
_EPSILON = 1e-6

_METADATA: dict[str, Any] = {
    "unit": "1",
    "higher_is_better": True,
    "range": (-1.0, 1.0),
    "source": "JavisDiT eval/javisbench, calc_imagebind_score; Girdhar et al., arXiv 2305.05665",
}
_VALUES = "Values of real clips lie near 0 to 0.4 and say little alone."
_VIDEO = (
    "The video is seen as ten frames, scaled without a low-pass filter: what happens between them counts for nothing. "
)
_TEXT = f"Only the first {TOKENS} tokens of a text are read. "
_AUDIO = "The sound is three clips of 2 s of the first channel; at over 6 s there are gaps between them. "
_CUT_COMPAT = (
    f"All texts over {TOKENS} tokens get one and the same embedding, because the end token is cut off: the scores of "
    "those say nothing about the text. "
)
STEP_COMPAT = (
    "Where sound clips overlap, the mean of one is subtracted from the next as well, which puts a step into sound with "
    "an offset or deep tones. "
)
_COMPARE = "Only for comparison with published numbers. "


def cosine(first: Embedding, second: Embedding) -> NDArray[np.float64]:
    """Cosine of vectors (..., D), broadcast, in [-1, 1]; lengths below 1e-6 count as 1e-6."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    lengths = (np.maximum(np.linalg.norm(vectors, axis=-1), _EPSILON) for vectors in (a, b))
    # Rounding alone can step over the bounds.
    return np.asarray(np.clip((a * b).sum(axis=-1) / np.multiply(*lengths), -1.0, 1.0))


def _text_metadata(tokens: int) -> dict[str, Any]:
    return {"tokens": tokens} | ({"note": f"text cut from {tokens} to {TOKENS} tokens"} if tokens > TOKENS else {})


def _text_video(media: Media, prompt: Prompt, store: EncoderStore, text: Encoder) -> Score:
    words, tokens = split_text(store.embed(text, media, prompt))
    value = cosine(words, store.embed(IMAGEBIND_VIDEO, media, prompt))
    return Score.ok(float(value), **_text_metadata(tokens))


def _text_audio(media: Media, prompt: Prompt, store: EncoderStore, pair: tuple[Encoder, Encoder]) -> Score:
    sounds = store.embed(pair[1], media, prompt)
    if not len(sounds):
        return Score.skipped(TOO_SHORT)
    words, tokens = split_text(store.embed(pair[0], media, prompt))
    return Score.ok(float(cosine(words, sounds[0])), **_text_metadata(tokens))


def _audio_video(media: Media, prompt: Prompt, store: EncoderStore, audio: Encoder) -> Score:
    sounds = store.embed(audio, media, prompt)
    if not len(sounds):
        return Score.skipped(TOO_SHORT)
    return Score.ok(float(cosine(sounds[0], store.embed(IMAGEBIND_VIDEO, media, prompt))))


@scorer(
    "tv_ib",
    family="text_alignment",
    needs=["video", "prompt"],
    prompt_role="text",
    encoders=(IMAGEBIND_VIDEO, IMAGEBIND_TEXT),
    params={"mode": "fixed"},
    caveat=_VIDEO + _TEXT + _VALUES,
    **_METADATA,
)
def tv_ib(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Similarity of video and prompt in ImageBind.

    Formula: cos(text, video); video = mean of unit vectors over 5 clips of 2 s x 3 square crops, each clip by its first
    and last frame. The text is the joint prompt, cut to 77 tokens with the end token kept; the detail says when it was
    cut. A clip below 2 s is taken whole, five times.
    Values are near 0 to 0.4.
    Texts over 77 tokens get different embeddings, unlike in JavisBench.
    """
    return _text_video(media, prompt, store, IMAGEBIND_TEXT)


@scorer(
    "tv_ib_compat",
    family="text_alignment",
    needs=["video", "prompt"],
    prompt_role="text",
    encoders=(IMAGEBIND_VIDEO, IMAGEBIND_TEXT_COMPAT),
    params={"mode": "compat", "flags": "ib_text_truncation"},
    caveat=_COMPARE + _CUT_COMPAT + _VIDEO + _VALUES,
    **_METADATA,
)
def tv_ib_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """IB-TV as JavisBench computes it: texts over 77 tokens lose their end token.

    Formula: as tv_ib; without its end token a text is read at its start token, before which nothing stands.
    """
    return _text_video(media, prompt, store, IMAGEBIND_TEXT_COMPAT)


@scorer(
    "ta_ib",
    family="text_alignment",
    needs=["audio", "prompt"],
    prompt_role="audio",
    encoders=(IMAGEBIND_AUDIO, IMAGEBIND_AUDIO_TEXT),
    params={"mode": "fixed"},
    caveat=_AUDIO + _TEXT + _VALUES,
    **_METADATA,
)
def ta_ib(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Similarity of audio and prompt in ImageBind.

    Formula: cos(text, audio); audio = mean of vectors of equal length over 3 clips of 2 s at 16 kHz. The text is the
    prompt for the sound, else the joint one, cut as for tv_ib. Sound below 2 s is taken whole, three times; below
    25 ms the clip is skipped.
    Values are near 0 to 0.4.
    Every sound clip is taken from the untouched sound, and long texts get different embeddings, unlike in JavisBench.
    """
    return _text_audio(media, prompt, store, (IMAGEBIND_AUDIO_TEXT, IMAGEBIND_AUDIO))


@scorer(
    "ta_ib_compat",
    family="text_alignment",
    needs=["audio", "prompt"],
    prompt_role="audio",
    encoders=(IMAGEBIND_AUDIO_COMPAT, IMAGEBIND_AUDIO_TEXT_COMPAT),
    params={"mode": "compat", "flags": "ib_inplace_mean,ib_text_truncation"},
    caveat=_COMPARE + _CUT_COMPAT + STEP_COMPAT + _AUDIO + _VALUES,
    **_METADATA,
)
def ta_ib_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """IB-TA as JavisBench computes it: means subtracted in place, long texts without end token.

    Formula: as ta_ib, with the two flaws that the flags name.
    """
    return _text_audio(media, prompt, store, (IMAGEBIND_AUDIO_TEXT_COMPAT, IMAGEBIND_AUDIO_COMPAT))


@scorer(
    "av_ib",
    family="synchrony",
    needs=["video", "audio"],
    encoders=(IMAGEBIND_VIDEO, IMAGEBIND_AUDIO),
    params={"mode": "fixed"},
    caveat="Whether the sound suits the video, not whether it comes at the right time. " + _VIDEO + _AUDIO + _VALUES,
    **_METADATA,
)
def av_ib(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Similarity of audio and video in ImageBind.

    Formula: cos(audio, video), both as for ta_ib and tv_ib.
    Values are near 0 to 0.4.
    Every sound clip is taken from the untouched sound, unlike in JavisBench.
    """
    return _audio_video(media, prompt, store, IMAGEBIND_AUDIO)


@scorer(
    "av_ib_compat",
    family="synchrony",
    needs=["video", "audio"],
    encoders=(IMAGEBIND_VIDEO, IMAGEBIND_AUDIO_COMPAT),
    params={"mode": "compat", "flags": "ib_inplace_mean"},
    caveat=_COMPARE + STEP_COMPAT + _VIDEO + _AUDIO + _VALUES,
    **_METADATA,
)
def av_ib_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """IB-AV as JavisBench computes it: the mean of each sound clip is subtracted in place.

    Formula: as av_ib, of sound clips that see the means of those before them.
    """
    return _audio_video(media, prompt, store, IMAGEBIND_AUDIO_COMPAT)
