"""CLIP ViT-B/32 of OpenAI in open_clip's network: frames and texts in one space of 512 dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext, Run
from avbench.encoders.batching import batched, runs_of_equal
from avbench.encoders.images import bicubic_crop_224, resize_crop_224
from avbench.encoders.texts import with_counts
from avbench.errors import EnvironmentProblem
from avbench.media import Frames, Linspace
from avbench.media.spool import release_pages
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor

ROW = "clip_vit_b32"
WEIGHTS = "open_clip_model.safetensors"  # hub timm/vit_base_patch32_clip_224.openai
ARCHITECTURE = "ViT-B-32-quickgelu"
FRAMES = 48
TOKENS = 77
VOCABULARY = 49_408
NETWORK = "clip_vit_b32"
BATCH = 64
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

Pixels = NDArray[np.uint8]
Embedding = NDArray[np.float32]


def _load(context: LoadContext) -> Any:
    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device

    module = build(ARCHITECTURE, reduced=context.setup.reduced)
    if context.setup.is_test:
        fill_keyed_random(module)
    else:
        path = files(ROW, context.setup)[WEIGHTS]
        load_strict(module, read_state_dict(path), path)
    return to_device(module, context)


def build(architecture: str, *, reduced: bool = False) -> Any:
    """open_clip's network of this name without weights; a small one of the same kind if `reduced`.

    Raises:
        EnvironmentProblem: open_clip describes another network by this name.
    """
    import open_clip

    # Built from its description, never by a model name with weights: that would download.
    config = open_clip.get_model_config(architecture)
    if reduced:
        config["embed_dim"] = 32
        config["vision_cfg"] |= {"layers": 2, "width": 64, "head_width": 16}
        config["text_cfg"] |= {"layers": 2, "width": 32, "heads": 2}
    module = open_clip.model.CLIP(**config)
    if module.vocab_size != VOCABULARY or module.context_length != TOKENS:
        raise EnvironmentProblem(
            f"open_clip describes {architecture} with {module.vocab_size} tokens and texts of {module.context_length}; "
            f"expected {VOCABULARY} and {TOKENS}. Install a version that avbench[models] allows."
        )
    return module


@cache
def _tokenizer() -> Any:
    import open_clip

    tokenizer = open_clip.get_tokenizer(ARCHITECTURE)
    if tokenizer.vocab_size != VOCABULARY:
        raise EnvironmentProblem(
            f"open_clip's tokenizer has {tokenizer.vocab_size} entries, expected {VOCABULARY}. "
            "Install open-clip-torch again."
        )
    return tokenizer


def token_ids(text: str, length: int = TOKENS) -> tuple[Tensor, int]:
    """Token ids (length,) of a text, and how many tokens it has; of a longer text the last id is the end token."""
    tokenizer = _tokenizer()
    return tokenizer([text], length)[0], len(tokenizer.encode(text)) + 2


def _embed_texts(network: Any, clips: Sequence[ClipInput]) -> list[Embedding]:
    import torch

    device = network.text_projection.device

    def forward(items: list[tuple[Tensor, int]]) -> Tensor:
        features = network.encode_text(torch.stack([ids for ids, _ in items]).to(device))  # (B, D)
        return with_counts(features, [count for _, count in items])

    outputs = batched(forward, [[token_ids(clip.text or "")] for clip in clips], BATCH, NETWORK)
    return [rows[0] for rows in outputs]


def network_input(frames: Tensor, *, clip_bgr: bool) -> Tensor:
    """Normalised network input of frames (B, 224, 224, 3), uint8 or float32 in 0 to 255: float32 (B, 3, 224, 224).

    Args:
        frames: on any device.
        clip_bgr: exchange red and blue, as the JavisBench reader does.
    """
    import torch

    pixels = frames.permute(0, 3, 1, 2)  # (B, 3, 224, 224)
    if clip_bgr:
        pixels = pixels.flip(1)
    mean = torch.tensor(MEAN, device=frames.device).view(3, 1, 1)
    std = torch.tensor(STD, device=frames.device).view(3, 1, 1)
    return (pixels.float() / 255 - mean) / std


def _embed_frames(network: Any, clips: Sequence[ClipInput], *, clip_bgr: bool = False) -> list[Embedding]:
    import torch

    weight = network.visual.conv1.weight

    def forward(frames: list[NDArray[np.generic]]) -> Tensor:
        pixels = torch.from_numpy(np.stack(frames)).to(weight.device)
        for clip in clips:
            release_pages(clip.views[0])
        features: Tensor = network.encode_image(network_input(pixels, clip_bgr=clip_bgr).to(weight.dtype))
        return features

    runs = [runs_of_equal(clip.views[0]) for clip in clips]
    distinct = [[clip.views[0][first] for first in firsts] for clip, (firsts, _) in zip(clips, runs, strict=True)]
    outputs = batched(forward, distinct, BATCH, NETWORK)
    return [rows[run] for rows, (_, run) in zip(outputs, runs, strict=True)]


def _alone(run: Run) -> Run:
    """The same clip by clip: the last bits of a feature then do not depend on which clips it was embedded with."""
    return lambda network, clips: [run(network, [clip])[0] for clip in clips]


CLIP = Backbone(name=NETWORK, load=_load, row=ROW, packages=("torch", "open_clip"))
_VIEWS = (Frames(Linspace(FRAMES), resize_crop_224),)

CLIP_FRAMES = Encoder("clip_frames", 1, CLIP, _embed_frames, views=_VIEWS)
"""48 frames spread over the clip -> image features (48, 512), not normalised."""

CLIP_FRAMES_BGR = Encoder("clip_frames_bgr", 1, CLIP, partial(_embed_frames, clip_bgr=True), views=_VIEWS)
"""The same with red and blue exchanged, as the JavisBench reader feeds them."""

CLIP_EVERY_FRAME = Encoder(
    "clip_every_frame", 1, CLIP, _alone(_embed_frames), views=(Frames(transform=bicubic_crop_224),)
)
"""Every frame, resized without antialias -> image features (T, 512), not normalised."""

CLIP_EVERY_FRAME_ANTIALIASED = Encoder(
    "clip_every_frame_antialiased", 1, CLIP, _alone(_embed_frames), views=(Frames(transform=resize_crop_224),)
)
"""Every frame, resized as for `CLIP_FRAMES` -> image features (T, 512), not normalised."""

CLIP_TEXT = Encoder("clip_text", 1, CLIP, _embed_texts, text="text")
"""Joint prompt -> text features (512,), not normalised, and the token count of the text: (513,), see `split_text`."""

CLIP_STYLE = Encoder("clip_style", 1, CLIP, _alone(_embed_texts), text="style")
"""The style that the prompt asks for -> as `CLIP_TEXT`."""
