"""Captions of a clip's frames by Tag2Text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avbench.encoders import wordpieces
from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.wordpieces import WordPieces
from avbench.media import Frames, Middle
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor

    from avbench.encoders.networks.tag2text.network import Tag2Text

ROW = "tag2text_swin_b"
FRAMES = 16
SIDE = 384
PROMPT = "a picture of "
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_THRESHOLD = 0.7
_TAG_TOKENS = 40
# Tags that are never given: quarter, one, two, three, four, five.
_LEFT_OUT = (127, 3351, 3265, 3338, 3355, 3359)
# Frames in one forward, those of one clip.
_BATCH = FRAMES

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Captioner:
    """The network with the words that it reads and writes."""

    network: Tag2Text
    words: WordPieces


@cache
def tags() -> tuple[str, ...]:
    """Names of the 3,429 tags in the order of the logits.

    Source: xinyu1205/recognize-anything, as Vchitect/VBench ships it.
    """
    text = package_files("avbench.encoders.networks.tag2text").joinpath("tags.txt").read_text("utf-8")
    return tuple(text.splitlines())


def _load(context: LoadContext) -> Captioner:
    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
    from avbench.encoders.networks.tag2text.network import REDUCED, Size, Tag2Text, without_second_names

    network = Tag2Text(REDUCED if context.setup.reduced else Size())
    if context.setup.is_test:
        fill_keyed_random(network)
        words = wordpieces.stand_in_word_pieces()
    else:
        (path,) = files(ROW, context.setup).values()
        load_strict(network, without_second_names(read_state_dict(path), path), path)
        words = wordpieces.read_word_pieces(*files(wordpieces.ROW, context.setup).values())
    to_device(network, context)
    return Captioner(network, words)


def network_input(frames: Tensor) -> Tensor:
    """Frames uint8 (B, 384, 384, 3) as the network sees them: float32 (B, 3, 384, 384)."""
    import torch

    mean, std = (torch.tensor(values, device=frames.device) for values in (_MEAN, _STD))
    return ((frames.float() / 255 - mean) / std).movedim(-1, 1)


def tag_text(logits: NDArray[np.float32]) -> str:
    """The tags of an image that are likely enough, of their logits (3429,)."""
    likely = 1 / (1 + np.exp(-logits)) > _THRESHOLD
    likely[list(_LEFT_OUT)] = False
    return " | ".join(tags()[index] for index in np.flatnonzero(likely))


def tag_ids(text: str, words: WordPieces) -> list[int]:
    """Ids (40,) of the text of tags: begin, its first 38 word pieces, end, padding."""
    from avbench.encoders.networks.tag2text.network import BEGIN_TAGS

    ids = [BEGIN_TAGS, *words.encode(text)[: _TAG_TOKENS - 2], wordpieces.END]
    return ids + [wordpieces.PADDING] * (_TAG_TOKENS - len(ids))


def _captions(captioner: Captioner, clips: Sequence[ClipInput]) -> list[NDArray[np.uint8]]:
    """Captions of each clip's frames, as `to_bytes` packs them."""
    import torch

    from avbench.encoders.networks.tag2text.network import BEGIN_CAPTION, CAPTION

    network, words = captioner.network, captioner.words
    weight = network.label_embed.weight
    prompt = [BEGIN_CAPTION, *words.encode(PROMPT)]

    def forward(frames: list[Pixels]) -> Tensor:
        pixels = torch.from_numpy(np.stack(frames)).to(weight.device)
        image = network.visual_encoder(network_input(pixels).to(weight.dtype))  # (B, L, V)
        logits = network.tag_logits(image).float().cpu().numpy()
        ids = torch.tensor([tag_ids(tag_text(row), words) for row in logits], device=weight.device)
        captions = network.captions(network.context(ids, image), prompt)
        return torch.tensor([text + [wordpieces.PADDING] * (CAPTION.longest - len(text)) for text in captions])

    frames: list[Sequence[Pixels]] = [list(clip.views[0]) for clip in clips]
    texts = batched(forward, frames, _BATCH, "Tag2Text")  # (16, 30) per clip
    return [to_bytes([words.spell(ids)[len(PROMPT) :] for ids in rows.astype(int).tolist()]) for rows in texts]


def to_bytes(captions: Sequence[str]) -> Pixels:
    """Captions as an array of bytes: embeddings are arrays."""
    return np.frombuffer("\n".join(captions).encode(), np.uint8)


def from_bytes(packed: NDArray[np.uint8]) -> list[str]:
    """What `to_bytes` packed."""
    return packed.tobytes().decode().split("\n")


TAG2TEXT = Backbone(name=ROW, load=_load, row=ROW, packages=("torch", "timm", "tokenizers"))

TAG2TEXT_CAPTIONS = Encoder(
    "tag2text_captions", 1, TAG2TEXT, _captions, views=(Frames(Middle(FRAMES), scaled=(SIDE, SIDE)),)
)
"""The middle frames of sixteenths of the clip -> a caption of each, as an array of bytes, see `from_bytes`."""
