"""Set metrics: all clips of a run, and each category of them, against a reference set."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Clip, PromptKey
from avbench.errors import UsageError
from avbench.metrics.base import Score, Scorer
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, RunFolder, ScoreRow
from avbench.results.schema import set_digest
from avbench.run.jobs import RunContext, Stopped
from avbench.run.plan import EarlierRows
from avbench.run.reference_sets import ReferenceSet
from avbench.run.rows import checked_score, detail_text, failure
from avbench.statistics.intervals import jackknife_interval

log = logging.getLogger(__name__)

ALL = "all"
_NO_REFERENCE = "no reference set; give features of real clips (--reference; 'avbench reference' makes them)"


@dataclass(frozen=True)
class SetInputs:
    """Inputs of the set metrics of one run.

    Attributes:
        folder: where the features of clips are.
        clips: all clips in the order of the source.
        shas: content digest of each clip.
        context: what every row repeats.
        reference: features of real clips, or None.
        missing: metrics that cannot run on this machine, with the reason.
        stopped: metrics that could not go on.
    """

    folder: RunFolder
    clips: Sequence[Clip]
    shas: Mapping[str, str]
    context: RunContext
    reference: ReferenceSet | None
    missing: Mapping[str, str]
    stopped: Stopped


def scopes(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """All clips under "all", and the members of each category under "aspect/category"."""
    members: dict[str, list[Clip]] = {ALL: list(clips)}
    for clip in clips:
        for category in clip.categories:
            members.setdefault(f"{category.aspect}/{category.name}", []).append(clip)
    return members


def set_digests(clips: Sequence[Clip], shas: Mapping[str, str]) -> dict[str, str]:
    """Digest of each scope's members."""
    return {scope: set_digest(shas[clip.clip_id] for clip in members) for scope, members in scopes(clips).items()}


def score_sets(
    sets: SetInputs, scorers: Iterable[Scorer], earlier: EarlierRows, *, fresh: bool, retry_errors: bool = False
) -> list[ScoreRow]:
    """Rows of all set metrics that an earlier invocation has not written.

    Args:
        sets: what they are computed from.
        scorers: metrics of the run; those of single clips are passed over.
        earlier: rows of earlier invocations.
        fresh: whether features were computed now, so that earlier rows are out of date.
        retry_errors: whether earlier errors are computed again.
    """
    rows = []
    for scorer in scorers:
        if scorer.level != "set":
            continue
        for scope, members in scopes(sets.clips).items():
            if scope != ALL and _unmet(scorer, sets) is not None:
                continue  # said once, in the row of all clips
            draft = _draft(scorer, scope, members, sets)
            known = earlier.find(draft.key)
            if fresh or known is None or (retry_errors and known.status == "error"):
                rows.append(_score(scorer, members, sets, draft))
    return rows


def _score(scorer: Scorer, members: Sequence[Clip], sets: SetInputs, draft: ScoreRow) -> ScoreRow:
    start = time.perf_counter()
    try:
        score = _unmet(scorer, sets) or _compare(scorer, draft.scope, members, sets)
        detail = detail_text(score.detail)
    except Exception as error:
        # Whatever a set metric raises costs its own row, never the scores of single clips or the tables.
        log.debug("%s failed on %s", scorer.name, draft.scope, exc_info=True)
        score, detail = Score.error(failure(error)), "{}"
    return replace(
        draft,
        value=score.value,
        status=score.status,
        reason=score.reason,
        seconds=round(time.perf_counter() - start, 6),
        detail=detail,
    )


def _unmet(scorer: Scorer, sets: SetInputs) -> Score | None:
    reason = sets.missing.get(scorer.name) or sets.stopped.reason(scorer.name)
    if reason:
        return Score.skipped(reason)
    if sets.reference is None:
        return Score.skipped(_NO_REFERENCE)
    try:
        sets.reference.rows(scorer.encoders[0])
    except UsageError as error:
        return Score.skipped(str(error))
    return None


def _compare(scorer: Scorer, scope: str, members: Sequence[Clip], sets: SetInputs) -> Score:
    assert sets.reference is not None
    real = sets.reference.rows(scorer.encoders[0])
    if scope != ALL:
        wanted = {clip.prompt.prompt_id for clip in members}
        # A set without ids is that of a benchmark whose prompt ids are row numbers.
        ids = sets.reference.ids or tuple(map(str, range(len(real))))
        real = real[[row for row, name in enumerate(ids) if name in wanted]]
        if len(real) < 2:
            return Score.skipped("fewer than 2 reference clips with the prompt ids of this category")
    pairs = [(clip, _features(scorer, clip, sets)) for clip in members]
    usable = [(clip, rows) for clip, rows in pairs if rows is not None]
    if len(usable) < 2:
        return Score.skipped(f"{len(usable)} of {len(members)} clips have features; 2 are needed")
    wrong = next((rows for _, rows in usable if rows.shape != real.shape[1:]), None)
    if wrong is not None:
        return Score.error(f"features of clips have {len(wrong)} columns, those of the reference set {real.shape[1]}")
    fake = np.stack([rows for _, rows in usable])
    score = checked_score(scorer.function(fake, real))
    counts = {"clips": len(members), "without_features": len(members) - len(fake)}
    prompts = [clip.prompt_key for clip, _ in usable]
    interval = {} if score.value is None else _interval(scorer, fake, real, score.value, prompts)
    return replace(score, detail={**score.detail, **counts, **interval})


def _interval(
    scorer: Scorer, fake: NDArray[np.float32], real: NDArray[np.float32], whole: float, prompts: Sequence[PromptKey]
) -> dict[str, Any]:
    """The interval over prompts, as the detail of a row."""

    def distance(use: NDArray[np.bool_]) -> float:
        part = scorer.function(fake[use], real)
        return math.nan if part.value is None else part.value

    interval = jackknife_interval(distance, whole, prompts).within(*scorer.range)
    if interval.low is None or interval.high is None:
        return {"no_interval": interval.reason, "prompts": interval.clusters}
    return {"low": interval.low, "high": interval.high, "prompts": interval.clusters}


def _features(scorer: Scorer, clip: Clip, sets: SetInputs) -> NDArray[np.float32] | None:
    context = sets.context
    key = context.protocol.media_key(sets.shas[clip.clip_id])
    return sets.folder.feature(scorer.encoders[0].feature_space(context.setup), key)


def _draft(scorer: Scorer, scope: str, members: Sequence[Clip], sets: SetInputs) -> ScoreRow:
    """The row without its score."""
    context, models = sets.context, {clip.model for clip in members}
    reference = sets.reference.digest(scorer.encoders[0]) if sets.reference else "none"
    content = {
        "params": dict(scorer.params), "scope": scope, "reference": reference, "protocol": context.protocol.name,
    }  # fmt: skip
    return ScoreRow(
        schema_version=SCHEMA_VERSION,
        run_id=context.run_id,
        model=models.pop() if len(models) == 1 else None,
        suite=context.suite,
        suite_version=context.suite_version,
        scope=scope,
        clip_id=None,
        clip_sha256=set_digest(sets.shas[clip.clip_id] for clip in members),
        prompt_id=None,
        sample_index=0,
        metric=scorer.name,
        value=None,
        status="skipped",
        reason="not judged",
        metric_version=scorer.version,
        params_digest=hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16],
        weights_digest=UNAVAILABLE if scorer.name in sets.missing else scorer.weights_digest(context.setup),
        seconds=0.0,
    )
