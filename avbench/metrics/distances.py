"""Distances between two sets of features: Fréchet distance and kernel maximum mean discrepancy. Pure functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating]

MIN_ROWS = 2
"""Covariance and unbiased kernel means divide by rows - 1."""

FAD_FACTOR = 10_000.0
"""JavisBench reports Fréchet audio distance times this."""


def first_rows(fake: Features, real: Features) -> tuple[Features, Features]:
    """As many rows of each set as the smaller one has, from the start, as the reference compares them."""
    count = min(len(fake), len(real))
    return fake[:count], real[:count]


def frechet_distance(fake: Features, real: Features) -> float:
    """Fréchet distance of two normal distributions with the means and unbiased covariances of the sets.

    |m1 - m2|^2 + tr(S1 + S2) - 2 tr (S1^1/2 S2 S1^1/2)^1/2. The last trace is the sum of the singular values of
    A B^T, A and B being the centred sets over sqrt(rows - 1): no matrix root is taken, so nothing goes wrong where
    covariances are singular. Computed in float64. The reference takes matrix roots in float32, which moves its
    numbers by up to 6e-4 of the value, and by about 1e-2 where a set has fewer rows than columns.

    Args:
        fake: generated features (N, D), N >= 2.
        real: reference features (M, D), M >= 2.

    Returns:
        0 or more.

    Raises:
        ValueError: sets that do not fit each other, or fewer than two rows.

    Source: Heusel et al. 2017 (arXiv 1706.08500), equation 6; JavisDiT eval/javisbench, `frechet_distance`.
    """
    _check(fake, real)
    (mean_fake, factor_fake), (mean_real, factor_real) = _moments(fake), _moments(real)
    shared = np.linalg.svd(factor_fake @ factor_real.T, compute_uv=False).sum()
    covariances = np.square(factor_fake).sum() + np.square(factor_real).sum() - 2 * shared
    return float(np.square(mean_fake - mean_real).sum() + max(covariances, 0.0))


def _moments(rows: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (D,), and R (min(N, D), D) with R^T R the unbiased covariance."""
    values = np.asarray(rows, dtype=np.float64)
    mean = np.asarray(values.mean(axis=0))
    return mean, np.asarray(np.linalg.qr((values - mean) / np.sqrt(len(values) - 1), mode="r"))


def polynomial_mmd(fake: Features, real: Features, *, centred: bool) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3. May be negative.

    Args:
        fake: generated features (N, D), N >= 2.
        real: reference features (M, D), M >= 2.
        centred: subtract each set's own mean first, so that a difference of means is not seen. The reference does
            so unintentionally (quirk `kvd_centred`).

    Raises:
        ValueError: sets that do not fit each other, or fewer than two rows.

    Source: Binkowski et al. 2018 (arXiv 1801.01401), section 3.1; JavisDiT eval/javisbench, `polynomial_mmd`.
    """
    _check(fake, real)
    x, y = np.asarray(fake, dtype=np.float64), np.asarray(real, dtype=np.float64)
    if centred:
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    between = float(_kernel(x, y).mean())
    return _mean_without_diagonal(_kernel(x, x)) + _mean_without_diagonal(_kernel(y, y)) - 2 * between


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)  # (N, M)


def _mean_without_diagonal(kernel: NDArray[np.float64]) -> float:
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))


def _check(fake: Features, real: Features) -> None:
    if fake.ndim != 2 or real.ndim != 2 or fake.shape[1] != real.shape[1]:
        raise ValueError(f"features of shapes {fake.shape} and {real.shape} cannot be compared: (N, D) and (M, D)")
    if min(len(fake), len(real)) < MIN_ROWS:
        raise ValueError(f"a distance needs {MIN_ROWS} rows in each set, got {len(fake)} and {len(real)}")
