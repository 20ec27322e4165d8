"""From distances between lips and sound to offset, confidence and distance of one face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SMOOTH = 9

Distances = NDArray[np.floating]


@dataclass(frozen=True)
class LipReading:
    """What the distances of one face say.

    Attributes:
        shift: frames of 40 ms by which the sound is late; negative where it is early.
        confidence: median of the mean distances less the smallest one (LSE-C).
        distance: smallest mean distance (LSE-D).
        framewise: confidence of each window at that shift, median of 9 windows.
        first: window that `framewise` begins with.
    """

    shift: int
    confidence: float
    distance: float
    framewise: NDArray[np.float64]
    first: int


def mean_distances(table: Distances, *, zero_rows: bool) -> NDArray[np.float64]:
    """Mean distance at each shift (2 reach + 1,) of a table (n, 2 reach + 1); NaN where no window has sound.

    Args:
        table: column `reach` compares lips with the sound of the same time, those after it with later sound.
        zero_rows: count windows whose sound lies beyond the ends, where the reference has zeros for it.
    """
    if zero_rows:
        return np.asarray(table.mean(axis=0, dtype=np.float64))
    counted = _with_audio(*table.shape)
    numbers = counted.sum(axis=0)
    sums = np.where(counted, table, 0).sum(axis=0, dtype=np.float64)
    return np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)


def read_lips(table: Distances, *, zero_rows: bool) -> LipReading:
    """Read a table of distances (n, 2 reach + 1), n > 0.

    Formula: m(j) is the mean over windows at shift j; distance min m, confidence median m - min m, the shift of the
    first smallest m.

    Source: joonson/syncnet_python, SyncNetInstance.py; the names LSE-C and LSE-D are Wav2Lip's (Prajwal et al. 2020).
    """
    means = mean_distances(table, zero_rows=zero_rows)
    best = int(np.nanargmin(means))
    middle = float(np.nanmedian(means))
    rows = np.arange(len(table)) if zero_rows else np.flatnonzero(_with_audio(*table.shape)[:, best])
    margins = middle - table[rows, best].astype(np.float64)
    return LipReading(
        shift=best - table.shape[1] // 2,
        confidence=middle - float(means[best]),
        distance=float(means[best]),
        framewise=_smoothed(margins),
        first=int(rows[0]),
    )


def _with_audio(rows: int, columns: int) -> NDArray[np.bool_]:
    """Whether the sound of window i at shift j lies inside."""
    at = np.arange(rows)[:, None] + np.arange(columns) - columns // 2
    return (at >= 0) & (at < rows)


def _smoothed(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of 9, with zeros beyond the ends as in the reference."""
    from scipy.signal import medfilt

    reach = _SMOOTH // 2
    return np.asarray(medfilt(np.pad(margins, reach), _SMOOTH)[reach : reach + len(margins)])
