"""MARBLE: weights of rewards from their gradients, so that one step serves all of them. Functions of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

_LEAST_NORM = 1e-12


def min_norm_weights(gram: Tensor) -> Tensor:
    """Weights alpha of K rewards that minimise the norm of the weighted sum of their normalised gradients.

    Args:
        gram: (K, K) float64, products of the raw gradients.

    Returns:
        (K,), at least 0, adding up to 1. A gradient that is zero or not finite gets 0; all 0 where none is left. Equal
        weights of the others where the solver fails.

    Source: MARBLE (arXiv 2605.06507).
    """
    norms, valid = _norms(gram)
    weights = torch.zeros_like(norms)
    if valid.any():
        cosines = (gram / norms / norms[:, None])[valid][:, valid]
        weights[valid] = torch.from_numpy(_solve(cosines.cpu().numpy())).to(weights)
    return weights


def direction_factors(gram: Tensor, weights: Tensor) -> Tensor:
    """Factors (K,) of the raw gradients in MARBLE's step: weight / norm x mean norm of the gradients that count.

    The step has the norm of a typical gradient, and its direction does not depend on how large each one is.

    Args:
        gram: (K, K), products of the raw gradients.
        weights: (K,) from `min_norm_weights`.
    """
    norms, valid = _norms(gram)
    factors = torch.zeros_like(norms)
    factors[valid] = weights[valid] * (norms[valid].mean() / norms[valid])
    return factors


def smoothed(previous: Tensor | None, weights: Tensor, smoothing: float) -> Tensor | None:
    """smoothing x previous + (1 - smoothing) x weights; the first ones as they are.

    Weights that are all zero come from gradients that say nothing: what was there stays.
    """
    if not weights.any():
        return previous
    return weights if previous is None else smoothing * previous + (1 - smoothing) * weights


def _norms(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Norms (K,) of the gradients, and which are finite and not zero."""
    norms = gram.diagonal().sqrt()
    return norms, norms.isfinite() & (norms > _LEAST_NORM)


def _solve(cosines: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The point of the simplex with the smallest a C a."""
    count = len(cosines)
    equal = np.full(count, 1 / count)
    if count == 1:
        return equal
    solution = minimize(
        lambda a: a @ cosines @ a,
        equal,
        jac=lambda a: 2 * cosines @ a,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * count,
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-8, "maxiter": 500},
    )
    weights: np.ndarray[Any, Any] = np.clip(solution.x, 0, None)
    if not solution.success or not np.isfinite(weights).all() or weights.sum() <= 0:
        return equal
    weights /= weights.sum()
    return weights
