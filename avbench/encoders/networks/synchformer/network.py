"""The Synchformer network: two transformers that describe segments of video and audio, and one that compares them.

State-dict keys and shapes are those of `synchformer_state_dict.pth`.

Source: Iashin et al., "Synchformer: Efficient synchronization from sparse cues", arXiv 2401.16423.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avbench.encoders.base import LoadContext
from avbench.encoders.loading import fill_keyed_random, load_strict, read_state_dict, to_device
from avbench.encoders.networks.synchformer import audio, video
from avbench.encoders.networks.synchformer.attention import attend_by_head
from avbench.encoders.networks.synchformer.audio import AudioTransformer
from avbench.encoders.networks.synchformer.segments import BLOCK
from avbench.encoders.networks.synchformer.video import VideoTransformer
from avbench.encoders.packing import pack
from avbench.weights.locate import files

CLASSES = 21


@dataclass(frozen=True)
class Size:
    """Width of all parts; layers and heads of the two describers, and of the comparison."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    compare_layers: int = 3
    compare_heads: int = 8


REDUCED = Size(width=32, layers=1, heads=2, compare_layers=1, compare_heads=2)


class ComparisonAttention(nn.Module):
    """Attention with an output projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, L, D) to the same shape."""
        mixed: Tensor = self.proj(attend_by_head(self.query(x), self.key(x), self.value(x), self.heads))
        return mixed


class ComparisonLayer(nn.Module):
    """Attention, then a perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.ln2 = nn.LayerNorm(width)
        self.attn = ComparisonAttention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, L, D) to the same shape."""
        x = x + self.attn(self.ln1(x))
        changed: Tensor = x + self.mlp(self.ln2(x))
        return changed


class Comparison(nn.Module):
    """All tokens of a block in one sequence: offset token, video, separator, audio."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.OFF_tok = nn.Parameter(torch.zeros(1, 1, width))
        self.MOD_tok = nn.Parameter(torch.zeros(1, 1, width))
        self.vis_in_lnorm = nn.LayerNorm(width)
        self.aud_in_lnorm = nn.LayerNorm(width)
        length = 2 + BLOCK * (video.STEPS + audio.STEPS)
        self.pos_emb_cfg = nn.ParameterDict({"pos_emb": torch.zeros(1, length, width)})
        self.blocks = nn.Sequential(*(ComparisonLayer(width, size.compare_heads) for _ in range(size.compare_layers)))
        self.ln_f = nn.LayerNorm(width)
        self.off_head = nn.Linear(width, CLASSES)

    def forward(self, seen: Tensor, heard: Tensor) -> Tensor:
        """Tokens of video (B, 112, D) and audio (B, 84, D) to logits (B, 21)."""
        offset, separator = (token.expand(len(seen), -1, -1) for token in (self.OFF_tok, self.MOD_tok))
        x = torch.cat([offset, self.vis_in_lnorm(seen), separator, self.aud_in_lnorm(heard)], dim=1)
        x = self.blocks(x + self.pos_emb_cfg["pos_emb"])
        logits: Tensor = self.off_head(self.ln_f(x[:, 0]))
        return logits


class Synchformer(nn.Module):
    """Segments of video and audio to logits over 21 offsets of -2 s to 2 s.

    Source: v-iashin/Synchformer.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.vfeat_extractor = VideoTransformer(size.width, size.layers, size.heads)
        self.afeat_extractor = AudioTransformer(size.width, size.layers, size.heads)
        self.vproj = nn.Linear(size.width, size.width)
        self.aproj = nn.Linear(size.width, size.width)
        self.transformer = Comparison(size)

    @property
    def weight(self) -> Tensor:
        """Any parameter: says where and in which number format the network runs."""
        return self.vproj.weight

    def compare(self, seen: Tensor, heard: Tensor) -> Tensor:
        """Features of a block, (B, 14, 8, D) and (B, 14, 6, D), to logits (B, 21)."""
        logits: Tensor = self.transformer(self.vproj(seen).flatten(1, 2), self.aproj(heard).flatten(1, 2))
        return logits


def load(context: LoadContext) -> nn.Module:
    """The network with its weights, on the device of a run."""
    if context.setup.is_test:
        module = Synchformer(REDUCED if context.setup.reduced else Size())
        fill_keyed_random(module)
        return _ready(module, context)
    path = next(iter(files("synchformer", context.setup).values()))
    # Without storage: the checkpoint's own tensors take the places.
    with torch.device("meta"):
        module = Synchformer(Size())
    load_strict(module, read_state_dict(path), path)
    return _ready(module, context)


def _ready(module: Synchformer, context: LoadContext) -> nn.Module:
    to_device(module, context)
    pack(module.vfeat_extractor)  # nearly all of the work
    return module
