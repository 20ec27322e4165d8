"""ViCLIP features of a clip and of its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avbench.encoders.base import Backbone, ClipInput, Encoder, LoadContext
from avbench.encoders.batching import batched
from avbench.encoders.networks.clip import network_input, token_ids
from avbench.encoders.texts import with_counts
from avbench.media import Frames, Middle
from avbench.weights.locate import files

if TYPE_CHECKING:
    from torch import Tensor

ROW = "viclip_l14_internvid_10m"
# As in `network`, which imports torch.
FRAMES = 8
SIDE = 224
TOKENS = 32
# Clips in one forward: 2,049 tokens each.
_CLIPS = 4
_TEXTS = 64

Pixels = NDArray[np.uint8]


def bicubic_crop_224_rounded(frame: Pixels) -> Pixels:
    """Short side to 224, bicubic without antialiasing, rounded to whole levels; then the central square.

    Args:
        frame: (H, W, 3) uint8.

    Returns:
        (224, 224, 3) uint8.

    Source: torchvision's Resize of uint8 tensors with antialias False, as VBench uses it for ViCLIP.
    """
    import torch

    height, width = frame.shape[:2]
    longer = int(SIDE * max(height, width) / min(height, width))
    rows, columns = (longer, SIDE) if height >= width else (SIDE, longer)
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()  # (1, 3, H, W)
    resized = torch.nn.functional.interpolate(pixels, (rows, columns), mode="bicubic", align_corners=False)
    # Half to even, as torchvision rounds both levels and the corner of a central square.
    top, left = round((rows - SIDE) / 2), round((columns - SIDE) / 2)
    square = resized[0, :, top : top + SIDE, left : left + SIDE].clamp(0, 255).round()
    return np.ascontiguousarray(square.permute(1, 2, 0).to(torch.uint8).numpy())


def _load(context: LoadContext) -> Any:
    from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
    from avbench.encoders.networks.viclip.network import REDUCED, Size, ViClip

    network = ViClip(REDUCED if context.setup.reduced else Size())
    if context.setup.is_test:
        fill_keyed_random(network)
    else:
        (path,) = files(ROW, context.setup).values()
        load_strict(network, read_state_dict(path), path)
    return to_device(network, context)


def _embed_clips(network: Any, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    import torch

    weight = network.vision_encoder.proj

    def forward(items: list[Pixels]) -> Tensor:
        pixels = torch.from_numpy(np.stack(items)).to(weight.device)  # (B, 8, 224, 224, 3)
        frames = torch.unflatten(network_input(pixels.flatten(0, 1), clip_bgr=False), 0, pixels.shape[:2])
        features: Tensor = network.vision_encoder(frames.to(weight.dtype))
        return features

    return [rows[0] for rows in batched(forward, [clip.views for clip in clips], _CLIPS, "ViCLIP")]


def _embed_texts(network: Any, clips: Sequence[ClipInput]) -> list[NDArray[np.float32]]:
    import torch

    device = network.temp.device

    def forward(items: list[tuple[Tensor, int]]) -> Tensor:
        features = network.text_encoder(torch.stack([ids for ids, _ in items]).to(device))  # (B, D)
        return with_counts(features, [count for _, count in items])

    tokens = [[token_ids(clip.text or "", TOKENS)] for clip in clips]
    return [rows[0] for rows in batched(forward, tokens, _TEXTS, "ViCLIP")]


VICLIP = Backbone(name=ROW, load=_load, row=ROW, packages=("torch", "open_clip"))

VICLIP_VIDEO = Encoder(
    "viclip_video", 1, VICLIP, _embed_clips, views=(Frames(Middle(FRAMES), bicubic_crop_224_rounded),)
)
"""The middle frames of eighths of the clip -> features (768,), not normalised."""

VICLIP_TEXT = Encoder("viclip_text", 1, VICLIP, _embed_texts, text="text")
"""Joint prompt -> features (768,), not normalised, and the token count of the text: (769,), see `split_text`."""
