"""Scaled dot-product attention by the faster of two implementations. Imports torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Above this, the table of all pairs costs more memory traffic than it saves.
_SHORT = 512


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention of (B, heads, L, D / heads).

    On the CPU at bf16, torch's fused kernel is no faster than at fp32 (2.9 ms for 257 tokens of width 1280, against
    1.6 ms of two batched products), so short sequences without a mask take the plain way there.
    """
    plain = query.device.type == "cpu" and query.dtype is torch.bfloat16 and mask is None
    if not plain or key.shape[2] > _SHORT:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    batch, heads, _, width = query.shape
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    weights = torch.bmm(query * width**-0.5, key.transpose(1, 2)).softmax(dim=-1)  # (B * heads, L, L)
    return torch.bmm(weights, value).reshape(batch, heads, -1, width)
