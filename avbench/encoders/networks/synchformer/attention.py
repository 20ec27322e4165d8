"""Shared parts of Synchformer: attention, and a layer that aggregates tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from avbench.encoders.attention import attend


def attend_by_head(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Multi-head attention of projected (B, L, D)."""
    # (B, heads, L, D / heads)
    query, key, value = (torch.unflatten(part, -1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    return attend(query, key, value).transpose(1, 2).flatten(2)


class Summary(nn.Module):
    """One transformer layer of which only the class token is used, so only that token is computed."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, L, D) to (B, D)."""
        token = self.cls_token.expand(len(x), -1, -1)
        seen = self.norm1(torch.cat([token, x], dim=1))
        token = token + self.self_attn(seen[:, :1], seen, seen, need_weights=False)[0]
        token = token + self.linear2(functional.gelu(self.linear1(self.norm2(token))))
        summed: Tensor = token[:, 0]
        return summed
