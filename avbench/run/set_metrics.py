"""Set metrics: all clips of a run, and each category of them, against a reference set."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avbench.clips import Clip, PromptKey
from avbench.errors import UsageError
from avbench.metrics.base import Score, Scorer
from avbench.results import UNAVAILABLE, RunFolder, ScoreRow
from avbench.results.schema import set_digest
from avbench.results.shard import Network
from avbench.run.earlier import EarlierRows
from avbench.run.jobs import RunContext, Stopped
from avbench.run.reference_sets import ReferenceSet
from avbench.run.rows import ALL, checked_score, computed_row, set_row
from avbench.statistics.intervals import jackknife_interval
from avbench.weights.config import WeightsConfig

log = logging.getLogger(__name__)
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
        networks: of metrics whose network is known from elsewhere than this machine.
    """

    folder: RunFolder
    clips: Sequence[Clip]
    shas: Mapping[str, str]
    context: RunContext
    reference: ReferenceSet | None
    missing: Mapping[str, str]
    stopped: Stopped
    networks: Mapping[str, Network] = field(default_factory=dict)

    def network(self, scorer: Scorer) -> Network:
        """What made the features of a set metric that can run."""
        return self.networks.get(scorer.name) or network_of(scorer, self.context.setup)


def network_of(scorer: Scorer, setup: WeightsConfig) -> Network:
    """What makes the features of a set metric on this machine.

    Raises:
        EnvironmentProblem: its weights are not here.
    """
    return Network(scorer.weights_digest(setup), scorer.encoders[0].feature_space(setup))


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
    """Rows of all set metrics that are not the newest in the record already.

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
            retried = retry_errors and known is not None and known.error and _unmet(scorer, sets) is None
            if fresh or known is None or retried:
                row = computed_row(draft, partial(_judge, scorer, scope, members, sets))
                rows += [] if earlier.repeats(row) else [row]
            elif not earlier.holds(None, known.key, scope):  # as after a run with another reference set
                rows.append(replace(earlier.read(known), run_id=draft.run_id))
    return rows


def _judge(scorer: Scorer, scope: str, members: Sequence[Clip], sets: SetInputs) -> Score:
    return _unmet(scorer, sets) or _compare(scorer, scope, members, sets)


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
    space = sets.network(scorer).feature_space
    pairs = [(clip, _features(space, clip, sets)) for clip in members]
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
        try:
            part = checked_score(scorer.function(fake[use], real))
        except (Exception, SystemExit):  # the distance of all clips holds; a part may be too small for a metric
            log.debug("%s failed on a part of the clips", scorer.name, exc_info=True)
            return math.nan
        return math.nan if part.value is None else part.value

    return jackknife_interval(distance, whole, prompts).within(*scorer.range).detail()


def _features(space: str, clip: Clip, sets: SetInputs) -> NDArray[np.float32] | None:
    return sets.folder.feature(space, sets.context.protocol.media_key(sets.shas[clip.clip_id]))


def _draft(scorer: Scorer, scope: str, members: Sequence[Clip], sets: SetInputs) -> ScoreRow:
    """The row without its score."""
    reference = sets.reference.digest(scorer.encoders[0]) if sets.reference else "none"
    digest = UNAVAILABLE if scorer.name in sets.missing else sets.network(scorer).weights_digest
    return set_row(
        scorer, scope, members, sets.shas, sets.context, weights_digest=digest, params={"reference": reference}
    )  # fmt: skip
