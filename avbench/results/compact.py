"""Choose the rows of the record that stand in the table: the newest of each clip and metric."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from avbench.results.schema import ScoreRow

Indices = NDArray[np.int64]
_BITS = 32
_MASK = (1 << _BITS) - 1


def compact(rows: Iterable[tuple[int, ScoreRow]], shas: Mapping[str, str], sets: Mapping[str, str]) -> list[int]:
    """Offsets of the newest row per clip and metric, in clip order then by metric; then those of set metrics.

    Rows of clips that are not asked for, of earlier contents of a clip, and of other sets of clips are left out.

    Args:
        rows: with their offsets in the record.
        shas: content digest of each clip.
        sets: digest of each set of clips, by scope.
    """
    order = {clip_id: index for index, clip_id in enumerate(shas)}
    # A row is two numbers: where it is, and its clip with its metric and scope. Kept as objects, they would take most
    # of the memory that a run of many clips needs.
    names: dict[tuple[str, str], int] = {}
    keys, offsets = array("q"), array("q")
    for offset, row in rows:
        if row.clip_id is None and sets.get(row.scope) == row.clip_sha256:
            keys.append(len(order) << _BITS | names.setdefault((row.metric, row.scope), len(names)))
            offsets.append(offset)
        elif row.clip_id is not None and shas.get(row.clip_id) == row.clip_sha256:
            keys.append(order[row.clip_id] << _BITS | names.setdefault((row.metric, ""), len(names)))
            offsets.append(offset)
    return _newest(np.array(keys), np.array(offsets), names) if keys else []


def _newest(keys: Indices, offsets: Indices, names: Mapping[tuple[str, str], int]) -> list[int]:
    """The last offset of each key, by clip and then by name."""
    rank = np.empty(len(names), np.int64)
    rank[[names[name] for name in sorted(names)]] = np.arange(len(names))
    keys = keys & ~_MASK | rank[keys & _MASK]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    newest: list[int] = offsets[order][np.append(keys[1:] != keys[:-1], True)].tolist()
    return newest
