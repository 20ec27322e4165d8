"""Derived metrics at the end of a run: computed from its rows, and written where they say something new."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from avbench.metrics.base import Score, Scorer
from avbench.metrics.derived import JudgedClip
from avbench.results import RunFolder, ScoreRow
from avbench.results.compact import compact
from avbench.run.jobs import RunContext
from avbench.run.rows import ALL, computed_row, set_row
from avbench.sources import Source


def derived_rows(
    folder: RunFolder, source: Source, shas: Mapping[str, str], context: RunContext, scorers: Iterable[Scorer]
) -> list[ScoreRow]:
    """Rows of the derived metrics among `scorers` that differ from those of an earlier invocation.

    Args:
        folder: the run folder with the rows of all clips.
        source: all clips.
        shas: content digest of each clip.
        context: what every row repeats.
        scorers: metrics of the run; others are passed over.
    """
    wanted = [scorer for scorer in scorers if scorer.level == "derived"]
    if not wanted:
        return []
    rows = _newest(folder, shas, {name for scorer in wanted for name in scorer.inputs})
    known = {row.metric: row for _, row in folder.scan() if row.clip_id is None and row.scope == ALL}
    clips = _judged(folder, source, shas, rows)
    derived = [_row(scorer, source, shas, context, clips, rows) for scorer in wanted]
    return [row for row in derived if (old := known.get(row.metric)) is None or not _same(row, old)]


def _newest(folder: RunFolder, shas: Mapping[str, str], metrics: set[str]) -> list[ScoreRow]:
    offsets = compact(((offset, row) for offset, row in folder.scan() if row.metric in metrics), shas, {})
    return list(folder.read_at(offsets))


def _judged(folder: RunFolder, source: Source, shas: Mapping[str, str], rows: Iterable[ScoreRow]) -> list[JudgedClip]:
    frames = {row.clip_sha256: row.frames for row in folder.clip_rows()}
    scores: dict[str, dict[str, Score]] = {}
    for row in rows:
        score = Score(row.value, row.status, row.reason, json.loads(row.detail))
        scores.setdefault(str(row.clip_id), {})[row.metric] = score
    return [
        JudgedClip(clip, scores.get(clip.clip_id, {}), frames.get(shas[clip.clip_id])) for clip in source.clips
    ]  # fmt: skip


def _row(
    scorer: Scorer,
    source: Source,
    shas: Mapping[str, str],
    context: RunContext,
    clips: list[JudgedClip],
    rows: Iterable[ScoreRow],
) -> ScoreRow:
    digests = {
        f"{row.metric}:{row.metric_version}:{row.weights_digest}" for row in rows if row.metric in scorer.inputs
    }  # fmt: skip
    weights = hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:16] if digests else "none"
    draft = set_row(scorer, ALL, source.clips, shas, context, weights_digest=weights, params={"inputs": scorer.inputs})
    return computed_row(draft, partial(scorer.function, clips))


def _same(row: ScoreRow, old: ScoreRow) -> bool:
    """Whether two rows say the same; the time of the computation aside."""
    return replace(row, seconds=0.0, run_id="") == replace(old, seconds=0.0, run_id="")
