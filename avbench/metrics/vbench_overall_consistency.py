"""Agreement of a whole clip with its prompt as VBench measures it, under the two names that it has there."""

from __future__ import annotations

from typing import Any

import numpy as np

from avbench.clips import Prompt
from avbench.encoders import EncoderStore
from avbench.encoders.networks.viclip.encoders import FRAMES, TOKENS, VICLIP_TEXT, VICLIP_VIDEO
from avbench.encoders.texts import split_text
from avbench.media import Media
from avbench.metrics.base import Score, scorer

_METADATA: dict[str, Any] = {
    "family": "vbench",
    "unit": "1",
    "higher_is_better": True,
    "range": (-1.0, 1.0),
    "needs": ["video", "prompt"],
    "prompt_role": "text",
    "encoders": (VICLIP_VIDEO, VICLIP_TEXT),
    "params": {"frames": FRAMES},
}
_CAVEAT = (
    "Eight frames stand for the clip, cropped to the central square, and the first 32 tokens for the text. Cosines are "
    "small even where both match: compare runs."
)


def _cosine(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    video = store.embed(VICLIP_VIDEO, media)  # (768,)
    text, tokens = split_text(store.embed(VICLIP_TEXT, media, prompt))
    note = {"note": f"text cut from {tokens} to {TOKENS} tokens"} if tokens > TOKENS else {}
    cosine = float(video @ text / (np.linalg.norm(video) * np.linalg.norm(text)))
    return Score.ok(cosine, tokens=tokens, **note)


@scorer(
    "overall_consistency",
    source="VBench (Huang et al., CVPR 2024), vbench/overall_consistency.py; Wang et al., InternVid, arXiv 2307.06942",
    caveat=_CAVEAT,
    **_METADATA,
)
def overall_consistency(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Similarity of clip and prompt in ViCLIP.

    Formula: cos(clip, text), the clip being the middle frames of its eighths, which the network sees together; the
    text is the joint prompt, cut to 32 tokens with the end token kept. The detail says when it was cut.
    """
    return _cosine(media, prompt, store)


@scorer(
    "temporal_style",
    source="VBench (Huang et al., CVPR 2024), vbench/temporal_style.py; Wang et al., InternVid, arXiv 2307.06942",
    caveat="overall_consistency by another name: it speaks of temporal style only where the prompt asks for one, as "
    "VBench's 100 prompts of this dimension do. " + _CAVEAT,
    **_METADATA,
)
def temporal_style(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Similarity of clip and prompt in ViCLIP, for prompts that name a camera movement or a tempo.

    Formula: that of overall_consistency, from the same pass of the network.
    """
    return _cosine(media, prompt, store)
