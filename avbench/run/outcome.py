"""The end of a run and of a merge: rows over all clips, and what a caller wants to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.metrics.base import Scorer
from avbench.run.derived import derived_rows
from avbench.run.earlier import EarlierRows
from avbench.run.result_tables import Tables
from avbench.run.set_metrics import SetInputs, score_sets
from avbench.sources import Source


@dataclass(frozen=True)
class Outcome:
    """Result of a run.

    Attributes:
        path: the run folder.
        summary: content of summary.json.
        n_clips: number of clips of the source.
        failed: ids of clips with an error row, in the order of the source.
        stopped: metrics that could not go on, with the reason.
        computed: new rows.
        reused: rows that were there already.
        unavailable: rows of metrics that lack a package or weights here.
        not_asked: rows of metrics that the suite does not ask of their clip.
        notes: files of the folder that were damaged and were made again.
    """

    path: Path
    summary: dict[str, Any]
    n_clips: int
    failed: tuple[str, ...]
    stopped: dict[str, str]
    computed: int
    reused: int
    unavailable: int
    not_asked: int = 0
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        path: Path,
        tables: Tables,
        *,
        n_clips: int,
        computed: int,
        stopped: Mapping[str, str],
        notes: Sequence[str],
    ) -> Outcome:
        """The result that the tables of a run make up; for the other arguments see the attributes."""
        return cls(
            path=path,
            summary=tables.summary,
            n_clips=n_clips,
            failed=tables.failed,
            stopped=dict(stopped),
            computed=computed,
            reused=tables.rows - computed,
            unavailable=tables.unavailable,
            not_asked=tables.not_asked,
            notes=(*notes, *tables.notes),
        )


def judge_whole(
    sets: SetInputs,
    source: Source,
    scorers: Sequence[Scorer],
    earlier: EarlierRows,
    *,
    fresh: bool,
    retry_errors: bool = False,
) -> int:
    """Write the rows of metrics over sets of clips, then of those that follow from others; how many are new.

    Args:
        sets: the folder with the rows and features of all clips.
        source: all clips.
        scorers: metrics of the run; those of single clips are passed over.
        earlier, fresh, retry_errors: see `score_sets`.
    """
    set_rows = score_sets(sets, scorers, earlier, fresh=fresh, retry_errors=retry_errors)
    sets.folder.append(set_rows)
    derived = derived_rows(sets.folder, source, sets.shas, sets.context, scorers)
    sets.folder.append(derived)
    return len(set_rows) + len(derived)


def check_failures(outcome: Outcome, max_failed: float) -> str | None:
    """A sentence when more clips failed than allowed, else None.

    Args:
        outcome: the run.
        max_failed: below 1 a fraction of the clips, otherwise a count.
    """
    limit = max_failed * outcome.n_clips if max_failed < 1 else max_failed
    if len(outcome.failed) <= limit:
        return None
    return f"{len(outcome.failed)} of {outcome.n_clips} clips failed (allowed: {limit:g})"
