"""Choose the rows of the record that stand in the table: the newest of each clip and metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from avbench.results.schema import ScoreRow

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
    # A row is two numbers in one: of its clip, and of its metric and scope. As tuples, keys would take most of the
    # memory that a run needs.
    names: dict[tuple[str, str], int] = {}
    newest: dict[int, int] = {}
    for offset, row in rows:
        if row.clip_id is None and sets.get(row.scope) == row.clip_sha256:
            name = names.setdefault((row.metric, row.scope), len(names))
            newest[len(order) << _BITS | name] = offset
        elif row.clip_id is not None and shas.get(row.clip_id) == row.clip_sha256:
            name = names.setdefault((row.metric, ""), len(names))
            newest[order[row.clip_id] << _BITS | name] = offset
    rank = {names[name]: index for index, name in enumerate(sorted(names))}
    keys = sorted(newest, key=lambda key: key >> _BITS << _BITS | rank[key & _MASK])
    return [newest[key] for key in keys]
