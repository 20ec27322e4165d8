"""Appearance style as VBench defines it: do the frames look like the style that the prompt asks for?"""

from __future__ import annotations

import numpy as np

from avbench.clips import Prompt
from avbench.encoders import EncoderStore
from avbench.encoders.networks.clip import CLIP_EVERY_FRAME_ANTIALIASED, CLIP_STYLE
from avbench.encoders.texts import split_text
from avbench.media import Media
from avbench.metrics.base import Score, no_prompt, scorer


@scorer(
    "appearance_style",
    family="vbench",
    unit="1",
    higher_is_better=True,
    range=(-1.0, 1.0),
    source="VBench (Huang et al., CVPR 2024), section 3.1 and vbench/appearance_style.py",
    needs=("video", "prompt"),
    prompt_role="style",
    encoders=(CLIP_EVERY_FRAME_ANTIALIASED, CLIP_STYLE),
    caveat="Only the words of the style are read, so a clip that shows nothing of its prompt in the right style scores "
    "well. Frames are judged one by one, cropped to the central square. On a GPU the reference runs in half precision.",
)
def appearance_style(media: Media, prompt: Prompt, store: EncoderStore) -> Score:
    """Similarity of frames and the style that the prompt asks for, in CLIP ViT-B/32.

    Formula: mean over all frames of cos(frame, style), the text being the style alone ("Van Gogh style").
    The detail has the number of frames, and the value of the last frame: where several processes computed it, VBench's
    value for a set is the mean of those.
    """
    if not prompt.expected.style:
        return Score.skipped(no_prompt("style"))
    frames = store.embed(CLIP_EVERY_FRAME_ANTIALIASED, media).astype(np.float64)  # (T, 512)
    style = split_text(store.embed(CLIP_STYLE, media, prompt))[0].astype(np.float64)  # (512,)
    each = frames @ style / np.linalg.norm(frames, axis=1) / np.linalg.norm(style)  # (T,)
    return Score.ok(float(each.mean()), frames=len(each), last_frame=float(each[-1]))
