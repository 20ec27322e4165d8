"""CLIP score: do the frames show what the prompt says?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Prompt
from avbench.encoders import Encoder, EncoderStore
from avbench.encoders.networks.clip import CLIP_FRAMES, CLIP_FRAMES_BGR, CLIP_TEXT, FRAMES, TOKENS
from avbench.encoders.texts import split_text
from avbench.media import Media
from avbench.metrics.base import Score, scorer

Features = NDArray[np.float32]

_METADATA: dict[str, Any] = {
    "family": "text_alignment",
    "unit": "1",
    "higher_is_better": True,
    "range": (-1.0, 1.0),
    "source": "JavisDiT eval/javisbench, calc_clip_score; Radford et al., arXiv 2103.00020",
    "needs": ["video", "prompt"],
    "prompt_role": "text",
}
_CAVEAT = (
    "Frames are judged one by one, cropped to the central square: motion, order and sound count for nothing. Only the "
    "first 77 tokens of a text are read. Cosines are small even where both match: compare runs."
)


def mean_cosine(frames: Features, text: Features) -> float:
    """Mean over frames (k, D) of the cosine with a text (D,)."""
    lengths = np.linalg.norm(frames, axis=1) * np.linalg.norm(text)
    return float(np.mean(frames @ text / lengths))


def _score(media: Media, prompt: Prompt, store: EncoderStore, encoder: Encoder) -> Score:
    frames = store.embed(encoder, media)  # (48, 512)
    text, tokens = split_text(store.embed(CLIP_TEXT, media, prompt))
    note = {"note": f"text cut from {tokens} to {TOKENS} tokens"} if tokens > TOKENS else {}
    return Score.ok(mean_cosine(frames, text), tokens=tokens, **note)


@scorer(
    "clip_score",
    encoders=(CLIP_FRAMES, CLIP_TEXT),
    params={"mode": "fixed", "frames": FRAMES},
    caveat=_CAVEAT,
    **_METADATA,
)
def clip_score(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Similarity of frames and prompt in CLIP ViT-B/32.

    Formula: mean over 48 frames spread over the clip of cos(frame, text). The text is the joint prompt, cut to 77
    tokens with the end token kept; the detail says when it was cut.
    Red and blue are not exchanged, unlike in JavisBench.
    """
    return _score(media, prompt, store, CLIP_FRAMES)


@scorer(
    "clip_score_compat",
    encoders=(CLIP_FRAMES_BGR, CLIP_TEXT),
    params={"mode": "compat", "flags": "clip_bgr", "frames": FRAMES},
    caveat="Red and blue are exchanged, as in the published numbers: only for comparison with those. "
    "The reference runs in half precision on a GPU. " + _CAVEAT,
    **_METADATA,
)
def clip_score_compat(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """CLIP score as JavisBench computes it: the network sees red and blue exchanged.

    Formula: as clip_score, of frames whose channels were swapped twice on the way and arrive as BGR.
    """
    return _score(media, prompt, store, CLIP_FRAMES_BGR)
