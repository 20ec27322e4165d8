"""Adaptive Reward Routing: weights from how strongly each stream responds to the other. Functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from omninft_train.method.regions import minmax

_PERCENTILE = 0.99


def response_weights(responses: Tensor, parts: int, maximum: float) -> Tensor:
    """Weights of tokens, from how strongly each responds to the other stream.

    Responses are clipped at the 99th percentile of their part, then stretched over [1, maximum].

    Args:
        responses: (B, L), norms of what cross-attention gives each token.
        parts: a clip's tokens are compared within this many equal parts: its latent frames, or 1 for the whole clip.
        maximum: largest weight.

    Source: Adaptive Reward Routing (arXiv 2609.37200).
    """
    by_part = torch.unflatten(responses, 1, (parts, -1))  # (B, T, L / T)
    clipped = by_part.clamp(max=by_part.quantile(_PERCENTILE, dim=-1, keepdim=True))
    return 1 + (maximum - 1) * minmax(clipped).flatten(1)


def layer_keep(scores: Tensor, tau: float) -> list[float]:
    """Fraction of the gradient that each block passes on to the stream that it responds to.

    1 - (1 - d)^(1/tau), with d the score stretched from 0 in the block that responds least to 1 in the one that
    responds most. Blocks that all respond alike pass everything.

    Args:
        scores: (B, blocks), mean norm of each block's responses in B rollouts; rows that are not finite are left out.
        tau: larger ones pass less.

    Source: Adaptive Reward Routing (arXiv 2609.37200).
    """
    scores = scores[scores.isfinite().all(dim=1)].double().mean(dim=0)
    low, high = scores.min(), scores.max()
    if not high - low > 1e-6 * high.abs():
        return [1.0] * len(scores)
    keep: list[float] = (1 - (1 - (scores - low) / (high - low)) ** (1 / tau)).tolist()
    return keep


def mixed_weights(prior: Tensor, balanced: Tensor, kappa: float) -> Tensor:
    """(1 - kappa) x prior + kappa x balanced, the latter stretched to the prior's sum.

    Args:
        prior: (K,) weights of the recipe.
        balanced: (K,) weights from gradients, adding up to 1.
        kappa: in [0, 1].

    Source: Adaptive Reward Routing (arXiv 2609.37200).
    """
    return (1 - kappa) * prior + kappa * prior.sum() * balanced
