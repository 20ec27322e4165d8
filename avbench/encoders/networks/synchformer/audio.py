"""Synchformer's audio branch: an audio spectrogram transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from avbench.encoders.networks.synchformer.attention import Summary, attend_by_head

PATCH, STRIDE = 16, 10
STEPS, BANDS = 6, 12


class SelfAttention(nn.Module):
    """Attention without an output projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, L, D) to the same shape."""
        return attend_by_head(self.query(x), self.key(x), self.value(x), self.heads)


class AudioLayer(nn.Module):
    """Attention, then a perceptron."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        output = nn.ModuleDict({"dense": nn.Linear(width, width)})
        self.attention = nn.ModuleDict({"attention": SelfAttention(width, heads), "output": output})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, 4 * width)})
        self.output = nn.ModuleDict({"dense": nn.Linear(4 * width, width)})
        self.layernorm_before = nn.LayerNorm(width, eps=1e-12)
        self.layernorm_after = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, L, D) to the same shape."""
        mixed = self.attention["attention"](self.layernorm_before(x))
        x = x + self.attention["output"].get_submodule("dense")(mixed)
        wide = functional.gelu(self.intermediate["dense"](self.layernorm_after(x)))
        changed: Tensor = x + self.output["dense"](wide)
        return changed


class Embeddings(nn.Module):
    """Overlapping patches of a spectrogram, and two tokens before them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.distillation_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.zeros(1, 2 + BANDS * STEPS, width))
        self.patch_embeddings = nn.ModuleDict({"projection": nn.Conv2d(1, width, PATCH, STRIDE)})

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Spectrograms (B, 128, 66) to tokens (B, 2 + F * T, D), frequency-major."""
        patches = self.patch_embeddings["projection"](spectrogram[:, None]).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token, self.distillation_token], dim=1).expand(len(patches), -1, -1)
        return torch.cat([tokens, patches], dim=1) + self.position_embeddings


class SpectrogramTransformer(nn.Module):
    """Embeddings, layers and a final norm."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.embeddings = Embeddings(width)
        self.encoder = nn.ModuleDict({"layer": nn.Sequential(*(AudioLayer(width, heads) for _ in range(layers)))})
        self.layernorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Spectrograms (B, 128, 66) to tokens (B, 2 + F * T, D)."""
        tokens: Tensor = self.layernorm(self.encoder["layer"](self.embeddings(spectrogram)))
        return tokens


class AudioTransformer(nn.Module):
    """Frequency is summed up per step of 0.1 s."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.ast = SpectrogramTransformer(width, layers, heads)
        self.freq_attn_agg = Summary(width, heads)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Spectrograms (B, 128, 66) to features (B, 6, D)."""
        grid = self.ast(spectrogram)[:, 2:].unflatten(1, (BANDS, STEPS)).transpose(1, 2)  # (B, T, F, D)
        described: Tensor = self.freq_attn_agg(grid.flatten(0, 1)).unflatten(0, (len(spectrogram), STEPS))
        return described
