"""Set metrics: all clips of a run, and each category of them, against a reference set."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Clip
from avbench.errors import UsageError
from avbench.metrics.base import Score, Scorer
from avbench.results import SCHEMA_VERSION, UNAVAILABLE, RunFolder, ScoreRow
from avbench.run.plan import Known, Plan, feature_space
from avbench.run.reference_sets import ReferenceSet, check_mode
from avbench.run.score_clip import RunContext

ALL = "all"
_NO_REFERENCE = "no reference set; give features of real clips with --reference (see 'avbench reference --help')"


@dataclass(frozen=True)
class Sets:
    """What set metrics of one run are computed from.

    Attributes:
        folder: where the features of clips are.
        clips: all clips in the order of the source.
        plan: content digests, known rows, metrics that cannot run.
        context: what every row repeats.
        reference: features of real clips, or None.
        stopped: metrics that could not go on, with the reason.
    """

    folder: RunFolder
    clips: Sequence[Clip]
    plan: Plan
    context: RunContext
    reference: ReferenceSet | None
    stopped: Mapping[str, str]


def scopes(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """All clips under "all", and the members of each category under "aspect/category"."""
    found: dict[str, list[Clip]] = {ALL: list(clips)}
    for clip in clips:
        for category in clip.categories:
            found.setdefault(f"{category.aspect}/{category.name}", []).append(clip)
    return found


def set_digest(shas: Iterable[str]) -> str:
    """Identity of a set of clips: digest of their sorted content digests."""
    return hashlib.sha256("\n".join(sorted(shas)).encode()).hexdigest()


def set_digests(clips: Sequence[Clip], shas: Mapping[str, str]) -> dict[str, str]:
    """Digest of each scope's members."""
    return {scope: set_digest(shas[clip.clip_id] for clip in members) for scope, members in scopes(clips).items()}


def judge_sets(sets: Sets, scorers: Iterable[Scorer], known: Known, fresh: bool) -> list[ScoreRow]:
    """Rows of all set metrics that an earlier invocation has not written.

    Args:
        sets: what they are computed from.
        scorers: metrics of the run; those of single clips are passed over.
        known: rows of earlier invocations.
        fresh: whether features were computed now, so that earlier rows are out of date.
    """
    rows = []
    for scorer in scorers:
        if scorer.level != "set":
            continue
        for scope, members in scopes(sets.clips).items():
            if scope != ALL and _unmet(scorer, sets) is not None:
                continue  # said once, in the row of all clips
            draft = _draft(scorer, scope, members, sets)
            if fresh or known.find(draft.key) is None:
                rows.append(_judge(scorer, members, sets, draft))
    return rows


def _judge(scorer: Scorer, members: Sequence[Clip], sets: Sets, draft: ScoreRow) -> ScoreRow:
    start = time.perf_counter()
    score = _unmet(scorer, sets)
    if score is None:
        score = _compare(scorer, draft.scope, members, sets)
    return replace(
        draft,
        value=score.value,
        status=score.status,
        reason=score.reason,
        seconds=round(time.perf_counter() - start, 6),
        detail=json.dumps(dict(score.detail), sort_keys=True, allow_nan=False),
    )


def _unmet(scorer: Scorer, sets: Sets) -> Score | None:
    reason = sets.plan.missing.get(scorer.name) or sets.stopped.get(scorer.name)
    if reason:
        return Score.skipped(reason)
    if sets.reference is None:
        return Score.skipped(_NO_REFERENCE)
    try:
        check_mode(sets.reference, str(dict(scorer.params).get("mode", "fixed")))
    except UsageError as error:
        return Score.skipped(str(error))
    return None


def _compare(scorer: Scorer, scope: str, members: Sequence[Clip], sets: Sets) -> Score:
    assert sets.reference is not None
    real = sets.reference.video if "video" in scorer.needs else sets.reference.audio
    if scope != ALL:
        wanted = {clip.prompt.prompt_id for clip in members}
        # A set without ids is that of a benchmark whose prompt ids are row numbers.
        ids = sets.reference.ids or tuple(map(str, range(len(real))))
        real = real[[row for row, name in enumerate(ids) if name in wanted]]
        if len(real) < 2:
            return Score.skipped("fewer than 2 reference clips with the prompt ids of this category")
    found = [_features(scorer, clip, sets) for clip in members]
    fake = [features for features in found if features is not None and features.shape == real.shape[1:]]
    if len(fake) < 2:
        return Score.skipped(f"{len(fake)} of {len(members)} clips have features; 2 are needed")
    score = scorer.function(np.stack(fake), real)
    return replace(score, detail={**score.detail, "clips": len(members), "without_features": len(members) - len(fake)})


def _features(scorer: Scorer, clip: Clip, sets: Sets) -> NDArray[np.float32] | None:
    sha, protocol = sets.plan.shas[clip.clip_id], sets.context.protocol.name
    return sets.folder.feature(feature_space(scorer, sets.context), f"{sha}:{protocol}" if protocol else sha)


def _draft(scorer: Scorer, scope: str, members: Sequence[Clip], sets: Sets) -> ScoreRow:
    """The row without its score."""
    context, models = sets.context, {clip.model for clip in members}
    reference = sets.reference.digest if sets.reference else "none"
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
        clip_sha256=set_digest(sets.plan.shas[clip.clip_id] for clip in members),
        prompt_id=None,
        sample_index=0,
        metric=scorer.name,
        value=None,
        status="skipped",
        reason="not judged",
        metric_version=scorer.version,
        params_digest=hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16],
        weights_digest=UNAVAILABLE if scorer.name in sets.plan.missing else scorer.weights_digest(context.setup),
        seconds=0.0,
    )
