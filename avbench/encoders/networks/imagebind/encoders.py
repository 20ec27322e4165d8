"""ImageBind: one embedding space for video, audio and text.

Source: Girdhar et al., arXiv 2305.05665; the weights are CC BY-NC-SA 4.0. JavisDiT eval/javisbench says what is
embedded. Encoders whose names end in `_COMPAT` carry a flaw of the reference that moves its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.images import resize_crop_224, short_side_224
from avbench.encoders.networks.imagebind.geometry import RATE, ClipEnds
from avbench.media import All, Frames, Waveform

Embeddings = list[NDArray[np.float32]]

TOKENS = 77

CLIP_ENDS = Frames(ClipEnds(), short_side_224)
EVERY_FRAME = Frames(All(), resize_crop_224)
# All channels: the mean that is removed is that of all of them, though the network hears the first one only.
WAVEFORM = Waveform(rate=RATE, mono=False, resampler="sinc")


def _load(context: LoadContext) -> Any:
    from avbench.encoders.networks.imagebind.network import load

    return load(context)


def _videos(network: Any, clips: Sequence[ClipInput]) -> Embeddings:
    from avbench.encoders.networks.imagebind.embed import embed_videos

    return embed_videos(network, clips)


def _frames(network: Any, clips: Sequence[ClipInput]) -> Embeddings:
    from avbench.encoders.networks.imagebind.embed import embed_frames

    return embed_frames(network, clips)


def _embed(network: Any, clips: Sequence[ClipInput], *, ib_inplace_mean: bool) -> Embeddings:
    from avbench.encoders.networks.imagebind.embed import embed_audio

    return embed_audio(network, clips, ib_inplace_mean=ib_inplace_mean)


def _texts(network: Any, clips: Sequence[ClipInput], *, ib_text_truncation: bool) -> Embeddings:
    from avbench.encoders.networks.imagebind.embed import embed_texts

    return embed_texts(network, clips, ib_text_truncation=ib_text_truncation)


IMAGEBIND = Backbone("imagebind", _load, row="imagebind_huge", packages=("torch", "open_clip", "PIL"))

# (D,): mean over 5 clips x 3 crops. Needs the frame count and rate, so it reads `ClipInput.video`.
IMAGEBIND_VIDEO = Encoder("imagebind_video", 1, IMAGEBIND, _videos, (CLIP_ENDS,))

# (T, D): every frame as a still image.
IMAGEBIND_FRAMES = Encoder("imagebind_frames", 1, IMAGEBIND, _frames, (EVERY_FRAME,))

# (1 + W, D): row 0 is the mean over three clips of 2 s, row 1 + i is window i of `geometry.audio_windows`. No row at
# all where the sound is shorter than one analysis frame of 25 ms. One encoder for both, because they share slices.
IMAGEBIND_AUDIO = Encoder("imagebind_audio", 1, IMAGEBIND, partial(_embed, ib_inplace_mean=False), (WAVEFORM,))
IMAGEBIND_AUDIO_COMPAT = Encoder(
    "imagebind_audio_compat", 1, IMAGEBIND, partial(_embed, ib_inplace_mean=True), (WAVEFORM,)
)

# (D + 1,) each, see `encoders.texts`: the joint caption, and the caption of the sound.
_cut = partial(_texts, ib_text_truncation=False)
_cut_compat = partial(_texts, ib_text_truncation=True)
IMAGEBIND_TEXT = Encoder("imagebind_text", 1, IMAGEBIND, _cut, text="text")
IMAGEBIND_TEXT_COMPAT = Encoder("imagebind_text_compat", 1, IMAGEBIND, _cut_compat, text="text")
IMAGEBIND_AUDIO_TEXT = Encoder("imagebind_audio_text", 1, IMAGEBIND, _cut, text="audio")
IMAGEBIND_AUDIO_TEXT_COMPAT = Encoder("imagebind_audio_text_compat", 1, IMAGEBIND, _cut_compat, text="audio")
