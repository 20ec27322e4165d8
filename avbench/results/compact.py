"""Choose the rows of the record that stand in the table: the newest of each clip and metric."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from avbench.results.schema import ScoreRow


def compact(rows: Iterable[tuple[int, ScoreRow]], shas: Mapping[str, str], sets: Mapping[str, str]) -> list[int]:
    """Offsets of the newest row per clip and metric, in clip order then by metric; then those of set metrics.

    Rows of clips that are not asked for, of earlier contents of a clip, and of other sets of clips are left out.

    Args:
        rows: with their offsets in the record.
        shas: content digest of each clip.
        sets: digest of each set of clips, by scope.
    """
    order = {clip_id: index for index, clip_id in enumerate(shas)}
    newest: dict[tuple[int, str, str], int] = {}
    for offset, row in rows:
        if row.clip_id is None and sets.get(row.scope) == row.clip_sha256:
            newest[len(order), sys.intern(row.metric), sys.intern(row.scope)] = offset
        elif row.clip_id is not None and shas.get(row.clip_id) == row.clip_sha256:
            newest[order[row.clip_id], sys.intern(row.metric), ""] = offset
    return [newest[key] for key in sorted(newest)]
